// What a worker reports of a client: its state, since when, and why.

import Config
import EventLoop
import Pool
import Session

extension ClientConnection {
    /// By what it is ranked among all clients, larger first; 0 for those that do not count.
    func rank(by rank: ClientRank) -> Int64 {
        switch rank {
        case .wait:
            let standing = standing
            switch standing.state {
            case .waiting, .active: return standing.since
            case .idle, .blocked, .pinned, .pipe: return 0
            }
        case .idle: return worker.now.nanoseconds - lastActivity
        case .commands: return Int64(clamping: counted.commands)
        case .bytes: return Int64(clamping: counted.bytesIn &+ bytesTaken)
        case .pinned: return upstream?.sole.map { worker.now - $0.since } ?? 0
        }
    }

    func report(rank: Int64) -> ClientReport {
        let standing = standing
        let identity = session.identity
        var library = identity.libraryName
        if !identity.libraryVersion.isEmpty {
            library += [UInt8(ascii: "-")] + identity.libraryVersion
        }
        return ClientReport(
            id: serial, pool: pool.config.name, worker: worker.index, peer: peerBytes,
            name: identity.name, library: library, user: userName,
            database: key.database, protocolVersion: key.protocolVersion,
            age: worker.now.nanoseconds - origin.connectedAt,
            idle: worker.now.nanoseconds - lastActivity, state: standing.state,
            since: standing.since, reason: standing.reason, command: commandName,
            upstream: (upstream ?? hubUpstream)?.origin.serial, commands: counted.commands,
            bytesIn: counted.bytesIn, bytesOut: bytesTaken,
            bytesWaiting: output.count + input.count, tls: channel.tlsFacts, rank: rank)
    }

    /// The upstream that its messages come from.
    private var hubUpstream: UpstreamConnection? {
        isSubscribing ? pool.subscribers.anyName(of: self)?.hub.upstream : nil
    }

    /// Its address; of a unix client, its process and user.
    private var peerBytes: [UInt8] {
        var bytes: [UInt8] = []
        if let process = SocketAddress.process(of: channel.descriptor) {
            return Array("unix pid=\(process.pid) uid=\(process.uid)".utf8)
        }
        appendPeer(to: &bytes)
        return bytes
    }

    // MARK: State

    private struct Standing {
        let state: ClientState
        let reason: String?
        /// In nanoseconds.
        let since: Int64
    }

    private var standing: Standing {
        switch mode {
        case .waiting(let wait):
            return Standing(
                state: .waiting, reason: wait.wanted.kind.reason, since: worker.now - wait.since)
        case .piped where !isAwaitingResume:
            return Standing(state: .pipe, reason: nil, since: soleTime)
        case .open where inFlight == 0 && !isHolding && extras?.awaitsReturn != true:
            return resting
        case .loggedOut: return Standing(state: .idle, reason: "login", since: idleTime)
        default: break
        }
        if isBlocked {
            return Standing(state: .blocked, reason: holdReason, since: replyTime ?? soleTime)
        }
        if let reason = queueReason {
            return Standing(state: .waiting, reason: reason, since: idleTime)
        }
        if isAwaitingResume {
            return Standing(state: .waiting, reason: "paused", since: idleTime)
        }
        if isHolding { return Standing(state: .pinned, reason: holdReason, since: soleTime) }
        return Standing(state: .active, reason: activeReason, since: replyTime ?? idleTime)
    }

    /// A client that waits for no reply.
    private var resting: Standing {
        if output.isEmpty {
            return Standing(
                state: .idle, reason: isSubscribing ? "subscribe" : nil, since: idleTime)
        }
        return Standing(state: .active, reason: "unread", since: idleTime)
    }

    private var idleTime: Int64 { worker.now.nanoseconds - lastActivity }

    /// Since when it has had its upstream to itself.
    private var soleTime: Int64 { upstream?.sole.map { worker.now - $0.since } ?? idleTime }

    /// The age of its oldest unanswered command; nil if there is none.
    private var replyTime: Int64? {
        guard let upstream, let stamp = upstream.inFlight.oldest(of: id) else { return nil }
        return upstream.age(of: stamp)
    }

    private var queueReason: String? {
        guard let extras else { return nil }
        if extras.placeInLine == .waiting { return "one_off" }
        if extras.awaitsReturn { return "return" }
        return extras.awaitsScripts ? "scripts" : nil
    }

    /// The state that ties it to its upstream.
    private var holdReason: String? {
        guard let hold = upstream?.hold else { return nil }
        if hold.isMonitoring { return "monitor" }
        if hold.subscriptions > 0 { return "subscribe" }
        if hold.isInTransaction { return "multi" }
        if hold.isWatching { return "watch" }
        if hold.isTracking { return "tracking" }
        if hold.isTarget { return "redirect" }
        return hold.flags.isEmpty ? nil : "flags"
    }

    private var activeReason: String? {
        switch mode {
        case .barrier: "barrier"
        case .asking: "asking"
        case .gathering: "gathering"
        case .streaming: "upload"
        case .swallowing: "swallowing"
        case .preparing: "preparing"
        case .closing(let reason): reason.word
        case .loggedOut: nil
        case .open, .exclusive, .waiting, .piped:
            isSlow ? "unread" : isPausedByUpstream ? "upstream_full" : nil
        }
    }
}

extension LeaseKind {
    /// What a client waits for that wants such a lease.
    fileprivate var reason: String {
        switch self {
        case .shared, .slow: "upstream"
        case .pin: "pin"
        case .control: "control"
        }
    }
}
