// Clients that monitor do not see what Redpool itself sends. While there are any, each worker of the
// pool says what it is about to send, before it does, so that it is known when the line comes.

import Config
import EventLoop
import Pool
import RESP
import Session
import Synchronization

/// A command of Redpool's own.
struct OwnCommand: Sendable {
    /// The client that it concerns; nil for all that monitor.
    var client: SlotID?
    let address: [UInt8]
    /// As a line of MONITOR has it.
    let text: [UInt8]
    /// The server has refused it.
    var isRefused = false
}

/// Where the workers of a pool leave word for the clients of one worker that monitor.
final class MonitorDesk: Sendable {
    /// How many clients monitor, or are about to.
    let watchers = Atomic<Int>(0)
    let box = Postbox<OwnCommand>()
}

/// What a client that monitors does not see.
final class MonitorFilter {
    var own = OwnCommands()
    /// The other workers leave word as well.
    var isComplete = false
}

extension PoolGroup {
    /// A client of some worker monitors.
    var isMonitored: Bool { desks.contains { $0.watchers.load(ordering: .relaxed) > 0 } }
}

extension PoolFront {
    private var desk: MonitorDesk? { member.map { group.desks[$0] } }

    /// From now on it is noted for this client what is sent.
    func beginWatching(_ client: ClientConnection) -> MonitorFilter {
        takeOwnCommands()
        let filter = MonitorFilter()
        client.monitorFilter = filter
        monitors.append(client.id)
        desk?.watchers.add(1, ordering: .sequentiallyConsistent)
        noteInFlight(for: client.id, at: member)
        return filter
    }

    /// What is on its way already when a client begins to monitor.
    func noteInFlight(for client: SlotID, at member: Int?) {
        guard let member else { return }
        for upstream in server.allUpstreams {
            for bytes in upstream.ownInFlight {
                let text = OwnCommand.text(of: bytes)
                group.desks[member].box.post(
                    OwnCommand(client: client, address: upstream.monitorAddress, text: text))
            }
        }
    }

    /// Looks at what has been sent. Called with every tick as well while somebody monitors.
    func takeOwnCommands() {
        guard let desk else { return }
        forgetMonitors(desk)
        let new = desk.box.takeAll()
        for id in monitors {
            guard let filter = worker.clients[id]?.monitorFilter else { continue }
            for command in new where command.client.map({ $0 == id }) ?? true {
                if command.isRefused {
                    filter.own.refused(command.text, from: command.address)
                } else {
                    filter.own.sent(command.text, from: command.address)
                }
            }
        }
    }

    /// Forgets clients that have left, or do not monitor any more.
    private func forgetMonitors(_ desk: MonitorDesk) {
        if monitors.allSatisfy({ worker.clients[$0]?.monitorFilter != nil }) { return }
        let before = monitors.count
        monitors.removeAll { worker.clients[$0]?.monitorFilter == nil }
        desk.watchers.subtract(before - monitors.count, ordering: .relaxed)
    }
}

extension OwnCommand {
    static func text(of bytes: [UInt8]) -> [UInt8] {
        var scanner = CommandScanner()
        guard
            case .command(let frame) = scanner.scan(
                bytes.span, frameStart: 0, limits: CommandLimits())
        else { return [] }
        return OwnCommands.text(of: CommandTable.words(bytes.span, frame))
    }
}

extension UpstreamConnection {
    /// To be called for what is Redpool's own, before it is sent.
    func noteOwn(_ bytes: [UInt8], isRefused: Bool = false) {
        // A line has no fewer.
        guard bytes.count <= 2 * OwnCommands.longest else { return }
        for desk in pool.group.desks where desk.watchers.load(ordering: .relaxed) > 0 {
            desk.box.post(
                OwnCommand(
                    address: monitorAddress, text: OwnCommand.text(of: bytes),
                    isRefused: isRefused))
        }
    }

    /// No fence allocates, unless somebody monitors.
    func noteOwn(_ fence: Fence) {
        guard pool.group.isMonitored else { return }
        noteOwn(fence.bytes)
    }

    func sendOwn(_ bytes: [UInt8]) {
        noteOwn(bytes)
        send(bytes)
    }

    /// As the server sees it, where nothing translates addresses on the way.
    var monitorAddress: [UInt8] {
        guard let address = SocketAddress.local(of: channel.descriptor) else { return [] }
        return address.isUnix ? OwnCommands.unix : Array(address.description.utf8)
    }

    /// What is in flight of it, but for a PING: nobody knows whether the server has carried it out
    /// already, and then a client's own would be taken for it.
    fileprivate var ownInFlight: [[UInt8]] {
        var all: [[UInt8]] = []
        if stage == .handshaking, !handshake.sent.isEmpty { all.append(handshake.sent) }
        inFlight.forEach { entry in
            switch entry.expectation {
            case .identify: all.append(UpstreamConnection.whoAmI)
            case .scriptQuestion: all.append(ScriptTrust.question)
            case .clean:
                if let bytes = cleaningCommand { all.append(bytes) }
            case .plain where entry.client == UpstreamConnection.nobody:
                all.append(renaming(identity.name))
            default: break
            }
        }
        if let fence { all.append(fence.bytes) }
        return all
    }
}

// MARK: - Lines

/// What becomes of the line of MONITOR that is passing by.
enum LineFate {
    case shown
    case hidden
    /// Kept until it is known which.
    case kept
}

extension ClientConnection {
    /// MONITOR: from before it is sent, all workers note for this client what they send themselves.
    func monitor(_ request: Request) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if !isHolding {
            guard let own = lease(.pin, key) else { return withoutLease }
            granted = Grant(upstream: own, wanted: Wanted(kind: .pin, key: key))
        }
        guard isWatching() else { return .blocked }
        let outcome =
            isHolding
            ? sendHeld(.monitor, 0, request.bytes)
            : beginHold(request, .monitor, 0)
        pool.takeOwnCommands()
        if let upstream, upstream.monitorAddress != OwnCommands.unix {
            monitorFilter?.own.forget(upstream.monitorAddress)
        }
        return outcome
    }

    /// False while the other workers are being told.
    func isWatching() -> Bool {
        let filter = monitorFilter ?? pool.beginWatching(self)
        if filter.isComplete { return true }
        guard
            askOthers(.monitoring(pool: pool.config.name, client: id.raw, of: pool.member ?? 0))
                != nil
        else { return false }
        filter.isComplete = true
        return true
    }

    /// What becomes of the line that begins.
    fileprivate func fateOfLine() -> LineFate {
        if session.replyMode == .off { return .hidden }
        guard let monitorFilter else { return .shown }
        pool.takeOwnCommands()
        return monitorFilter.own.isEmpty ? .shown : .kept
    }
}

extension UpstreamConnection {
    /// A line of MONITOR, or a piece of it. CLIENT REPLY OFF hides it; so it is if it shows a
    /// command of Redpool's own, and until that is known it is kept, up to the length of such a one.
    func relayLine(
        _ bytes: UnsafeRawPointer, count: Int, isComplete: Bool, to client: ClientConnection
    ) {
        let fate = sole?.messages.line ?? client.fateOfLine()
        sole?.messages.line = fate
        switch fate {
        case .shown: client.receive(bytes, count: count)
        case .hidden: break
        case .kept:
            incoming.collected.append(
                contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
            if !isComplete, incoming.collected.count <= OwnCommands.longestLine { return }
            let isOwn = isComplete && client.monitorFilter?.own.take(incoming.collected) == true
            if !isOwn { passKept(to: client) }
            incoming.collected = []
            sole?.messages.line = .shown
        }
        if isComplete { sole?.messages.line = nil }
        client.checkPace(self)
    }

    private func passKept(to client: ClientConnection) {
        incoming.collected.withUnsafeBytes { client.receive($0.baseAddress!, count: $0.count) }
    }

    /// The beginning of a line that has been kept goes to the client whose bytes pass through unread
    /// from now on.
    func passKeptLine(to client: ClientConnection) {
        if sole?.messages.isPlusKept == true {
            [UInt8(ascii: "+")].withUnsafeBytes { client.receive($0.baseAddress!, count: 1) }
        }
        guard sole?.messages.line == .kept else { return }
        passKept(to: client)
        incoming.collected = []
    }
}
