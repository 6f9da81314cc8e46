// A worker's numbers, put together when the main thread asks.

import Config
import EventLoop
import Pool

extension Worker {
    /// The numbers of this worker's pools. It looks at each client for its bytes.
    var metrics: WorkerMetrics {
        var found = pools.map { $0.metrics }
        clients.forEach { client in
            guard let index = pools.firstIndex(where: { $0 === client.pool }) else { return }
            found[index].waitingBytes += client.bytesHeld + client.extraBytes
            found[index].bytes.fromClients &+= client.counted.bytesIn
            found[index].bytes.toClients &+= client.bytesTaken
            if client.isSubscribing {
                found[index].subscribers.present.clients += 1
                found[index].subscribers.present.backlog +=
                    client.output.count + client.parkedBytes
            }
        }
        return WorkerMetrics(
            worker: index, at: now, busy: EventLoop.threadTime(), longestTurn: clock.longestTurn,
            pools: found)
    }

    /// The rows of the errors of one pool, or of all.
    func errorRows(of name: String?) -> [ErrorRow] {
        pools.flatMap { pool in
            name == nil || pool.config.name == name
                ? pool.meter.errors.rows(of: pool.config.name) : []
        }
    }

    /// The slow commands of one pool, or of all.
    func slowCommands(of name: String?) -> [SlowCommand] {
        pools.flatMap { pool in
            name == nil || pool.config.name == name
                ? pool.meter.slow.commands(of: pool.config.name, table: table) : []
        }
    }
}

extension PoolFront {
    /// This worker's part of the pool, but for what is known of its connected clients only.
    var metrics: PoolMetrics {
        var found = PoolMetrics(pool: config.name)
        let counters = counters
        found.clients = traffic.clients
        found.accepted = traffic.accepted
        found.loginsRefused = traffic.loginsRefused
        found.clientsClosed = meter.errors.totals(.client)
        found.refused = meter.errors.totals(.refused)
        found.errorReplies = meter.errors.totals(.reply)
        found.bytes = bytes
        found.commands.shared = traffic.commandsShared
        found.commands.pinned = traffic.commandsPinned
        found.commands.local = traffic.commandsLocal
        found.commands.retriedShared = meter.retriedShared
        found.commands.retriedPinned = meter.retriedPinned
        found.census = census
        found.sight = sight
        found.sight.waiting = found.census.waiting
        found.cluster = traffic.cluster
        found.subscribers = subscriberDesk?.metrics ?? SubscriberMetrics()
        if config.pubsub.isShared { found.subscribers.isShared = true }
        found.leases.atOnce = counters.hits + meter.directPins
        found.leases.refused = meter.leasesRefused
        found.leases.left = meter.leasesLeft
        found.upstreams.opened = counters.opens
        found.upstreams.closed = CloseReason.allCases.map { counters.closes($0) }
        found.upstreams.connected = counters.connects
        found.upstreams.probesAnswered = counters.probeAnswers
        found.upstreams.probesFailed = counters.probeFailures
        found.upstreamTLS = meter.upstreamTLS
        found.clientTLS = meter.clientTLS
        found.waits = meter.waits
        found.replies = meter.replies.histogram
        found.dials = meter.dials
        return found
    }

    /// Those of the state machines of all its servers, also of former ones.
    var counters: PoolCounters {
        var sum = meter.before
        for server in servers { sum.add(server.machine.counters) }
        return sum
    }

    private var bytes: PoolMetrics.Bytes {
        var sent = meter.upstreamSentBefore
        for upstream in allUpstreams { sent &+= UInt64(upstream.output.sentTotal) }
        return PoolMetrics.Bytes(
            fromClients: meter.receivedBefore, toClients: meter.sentBefore,
            fromServer: meter.upstreamReceived, toServer: sent)
    }
}
