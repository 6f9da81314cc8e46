// What this worker sees of the pool's commands and waiters, and the log lines about them.

import Config
import EventLoop
import Logging
import Pool

extension PoolFront {
    /// Called with every tick: logs when commands wait too long, and when they no longer do.
    func watch() {
        guard let member else { return }
        for notice in group.warnings.look(sight, of: member, now: worker.now) { log(notice) }
    }

    /// This worker's part of the pool.
    var sight: PoolSight {
        var sight = PoolSight()
        for server in servers { sight.add(server.sight) }
        sight.left = traffic.left
        return sight
    }

    private func log(_ notice: PoolNotice) {
        let sight = notice.sight
        let duration = PoolSight.milliseconds(notice.duration)
        switch notice.kind {
        case .stalled:
            write(
                .warning, "pool.stalled", "commands are sent and not answered",
                [
                    "in_flight": "\(sight.inFlight)", "oldest_ms": "\(duration)",
                    "clients": "\(sight.clients)", "waiting": "\(sight.waiting)",
                ])
        case .answered:
            write(
                .notice, "pool.moving", "commands are answered again",
                ["reason": "stalled", "stalled_ms": "\(duration)"])
        case .waiting, .left:
            let hasLeft = notice.kind == .left
            write(
                .warning, "pool.waiting",
                hasLeft
                    ? "clients have left while they waited for an upstream"
                    : "clients wait for an upstream",
                [
                    "reason": hasLeft ? "left" : "waiting", "waiting": "\(sight.waiting)",
                    "oldest_ms": "\(duration)", "left": "\(notice.left)",
                    "open": "\(sight.open)/\(config.maxOpen)", "pinned": "\(sight.pinned)",
                ])
        case .served:
            write(
                .notice, "pool.moving", "nobody waits long for an upstream any more",
                [
                    "reason": "waiting", "waited_ms": "\(duration)", "left": "\(notice.left)",
                ])
        }
    }

    private func write(
        _ level: Logger.Level, _ event: String, _ text: String, _ fields: Logger.Metadata
    ) {
        worker.log.log(
            level: level, "\(text)",
            metadata: fields.merging(["event": "\(event)", "pool": "\(config.name)"]) { $1 })
    }
}

extension Server {
    /// What there is of commands in flight and of waiters, but for clients that have left.
    var sight: PoolSight {
        let census = machine.census
        var sight = PoolSight()
        sight.open = census.open
        sight.pinned = census.pinned
        sight.waiting = census.waiting
        if census.waiting > 0 {
            sight.waiterSince = worker.now.nanoseconds - machine.oldestWait(now: worker.now)
        }
        for upstream in allUpstreams {
            if let debt = upstream.debt { sight.add(debt) }
        }
        return sight
    }
}

extension UpstreamConnection {
    /// The unanswered commands that keep clients waiting for the server; nil if there are none.
    /// Commands that may block do not count, nor do those that the client still sends, or whose
    /// replies it does not read.
    fileprivate var debt: PoolSight? {
        guard stage == .ready, !inFlight.isEmpty, sole?.isBlocking != true, channel.isReading,
            uploader?.isUploading != true,
            let oldest = inFlight.oldest(skippingFirst: incoming.isRelaying)
        else { return nil }
        let age = age(of: oldest)
        var sight = PoolSight()
        sight.inFlight = commandsInFlight
        sight.clients = clients
        sight.commandSince = worker.now.nanoseconds - age
        return sight
    }

    /// The age of an entry in flight, in nanoseconds.
    func age(of entry: (stamp: UInt32, isFirst: Bool)) -> Int64 {
        let age = worker.clock.age(of: entry.stamp)
        // Its stamp may have wrapped around.
        return entry.isFirst ? max(age, worker.now - waitingSince) : age
    }

    /// Commands of clients that are sent and not answered.
    var commandsInFlight: Int {
        if isShared { return server.machine.commandsInFlight(id) }
        var count = 0
        inFlight.forEach { if $0.client != UpstreamConnection.nobody { count += Int($0.count) } }
        return count
    }
}
