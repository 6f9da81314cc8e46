import Glibc
import Pool

// The simulators of Tests/PoolTests, Tests/TopologyTests and Tests/SessionTests at their full size;
// scripts/simulate builds it with them.

@main
enum Simulations {
    private static let pools: UInt64 = 200
    private static let interleavings: UInt64 = 3000
    private static let sentinelWorlds: UInt64 = 250
    private static let clusterWorlds: UInt64 = 260
    private static let orderWorlds: UInt64 = 110
    private static let redirectWorlds: UInt64 = 550
    private static let replicaWorlds: UInt64 = 250
    private static let subscriptionWorlds: UInt64 = 340

    static func main() {
        let found =
            simulatePools() + interleaveWorkers() + findUnreached() + followPrimaries()
            + followClusters() + orderReplies() + followRedirects() + readFromReplicas()
            + shareSubscriptions()
        for failure in found { print(failure) }
        exit(found.isEmpty ? 0 : 1)
    }

    private static func simulatePools() -> [String] {
        var steps = 0
        var found: [String] = []
        for seed in 0..<pools {
            let simulator = Simulator(seed: seed)
            simulator.run(steps: 5000)
            steps += simulator.steps
            if let failure = simulator.failure { found.append(failure) }
        }
        print("\(pools) pools, \(steps) calls: \(found.count) failed")
        return found
    }

    private static func interleaveWorkers() -> [String] {
        var steps = 0
        var found: [String] = []
        for seed in 0..<interleavings {
            let world = InterleavedWorld(seed: seed)
            world.run(ticks: 3)
            steps += world.steps
            if let failure = world.failure { found.append("seed \(seed): \(failure)") }
        }
        print("\(interleavings) interleavings, \(steps) atomic steps: \(found.count) failed")
        return found
    }

    private static func followPrimaries() -> [String] {
        var steps = 0
        var failovers = 0
        var overrules = 0
        var found: [String] = []
        for seed in 0..<sentinelWorlds {
            let world = SentinelWorld(seed: seed)
            world.run(steps: 5000)
            steps += world.steps
            failovers += world.failovers
            overrules += world.overrules
            if let failure = world.failure { found.append(failure) }
        }
        print(
            "\(sentinelWorlds) worlds of Sentinels, \(steps) events, \(failovers) failovers, "
                + "\(overrules) claims without a higher epoch: \(found.count) failed")
        if failovers < 1000 || overrules < 100 { found.append("too little happens to Sentinels") }
        return found
    }

    private static func followClusters() -> [String] {
        var steps = 0
        var failovers = 0
        var redirects = 0
        var found: [String] = []
        for seed in 0..<clusterWorlds {
            let world = ClusterWorld(seed: seed)
            world.run(steps: 4000)
            steps += world.steps
            failovers += world.failovers
            redirects += world.redirects
            if let failure = world.failure { found.append(failure) }
        }
        print(
            "\(clusterWorlds) clusters, \(steps) events, \(failovers) failovers, "
                + "\(redirects) redirects: \(found.count) failed")
        if failovers < 1000 || redirects < 1000 { found.append("too little happens to clusters") }
        return found
    }

    private static func orderReplies() -> [String] {
        var sums = (steps: 0, replies: 0, runs: 0, moves: 0, merges: 0, ends: 0)
        var found: [String] = []
        for seed in 0..<orderWorlds {
            let world = OrderWorld(seed: seed)
            world.run(steps: 10_000)
            sums.steps += world.steps
            sums.replies += world.replies
            sums.runs += world.runs
            sums.moves += world.moves
            sums.merges += world.merges
            sums.ends += world.ends
            if let failure = world.failure { found.append(failure) }
        }
        print(
            "orders of replies, seeds 0 to \(orderWorlds - 1), \(sums.steps) events, "
                + "\(sums.replies) replies, \(sums.runs) runs, \(sums.moves) refusals, "
                + "\(sums.merges) merges, \(sums.ends) ends: \(found.count) failed")
        if min(sums.replies, sums.runs, sums.moves, sums.merges, sums.ends) < 1000 {
            found.append("too little happens to replies")
        }
        return found
    }

    private static func followRedirects() -> [String] {
        var sums = (steps: 0, redirects: 0, asks: 0, pauses: 0, moves: 0)
        var found: [String] = []
        for seed in 0..<redirectWorlds {
            let world = RedirectWorld(seed: seed)
            world.run(steps: 2000)
            sums.steps += world.steps
            sums.redirects += world.redirects
            sums.asks += world.asks
            sums.pauses += world.pauses
            sums.moves += world.moves
            if let failure = world.failure { found.append(failure) }
        }
        print(
            "redirects, seeds 0 to \(redirectWorlds - 1), \(sums.steps) events, "
                + "\(sums.moves) moves of slots, \(sums.redirects) MOVED, \(sums.asks) ASK, "
                + "\(sums.pauses) held: \(found.count) failed")
        if min(sums.redirects, sums.asks, sums.pauses, sums.moves) < 1000 {
            found.append("too little is redirected")
        }
        return found
    }

    private static func readFromReplicas() -> [String] {
        var sums = (steps: 0, reads: 0, replicaReads: 0, failovers: 0, restarts: 0)
        var found: [String] = []
        for seed in 0..<replicaWorlds {
            let world = ReplicaWorld(seed: seed)
            world.run(steps: 5000)
            sums.steps += world.steps
            sums.reads += world.reads
            sums.replicaReads += world.replicaReads
            sums.failovers += world.failovers
            sums.restarts += world.restarts
            if let failure = world.failure { found.append(failure) }
        }
        print(
            "replicas, seeds 0 to \(replicaWorlds - 1), \(sums.steps) events, "
                + "\(sums.replicaReads) of \(sums.reads) reads from replicas, "
                + "\(sums.failovers) failovers, \(sums.restarts) restarts: \(found.count) failed")
        if sums.replicaReads < sums.reads / 10 || min(sums.failovers, sums.restarts) < 400 {
            found.append("too little is read from replicas")
        }
        for rule in ReplicaWorld.Broken.allCases where rule != .nothing {
            let seen = (0..<replicaWorlds).count { seed in
                let world = ReplicaWorld(seed: seed, broken: rule)
                world.run(steps: 5000)
                return world.failure != nil
            }
            print("replicas without the rule of \(rule): \(seen) of \(replicaWorlds) failed")
            if seen < Int(replicaWorlds) / 4 { found.append("without \(rule) too little is seen") }
        }
        return found
    }

    private static func shareSubscriptions() -> [String] {
        var sums = (steps: 0, messages: 0, refusals: 0, losses: 0, ends: 0, handOvers: 0)
        var found: [String] = []
        for seed in 0..<subscriptionWorlds {
            let world = SubscriptionWorld(seed: seed)
            world.run(steps: 3000)
            sums.steps += world.steps
            sums.messages += world.messages
            sums.refusals += world.refusals
            sums.losses += world.losses
            sums.ends += world.ends
            sums.handOvers += world.handOvers
            if let failure = world.failure { found.append(failure) }
        }
        print(
            "subscriptions, seeds 0 to \(subscriptionWorlds - 1), \(sums.steps) events, "
                + "\(sums.messages) messages, \(sums.refusals) refusals, \(sums.losses) losses, "
                + "\(sums.ends) clients vanished, \(sums.handOvers) hand-overs: "
                + "\(found.count) failed")
        if min(sums.messages, sums.refusals, sums.losses, sums.ends, sums.handOvers) < 1000 {
            found.append("too little happens to subscriptions")
        }
        let seen = (UInt64(0)..<50).count { seed in
            let world = SubscriptionWorld(seed: seed, broken: .confirmsAtOnce)
            world.run(steps: 3000)
            return world.failure != nil
        }
        print("subscriptions confirmed at once: \(seen) of 50 failed")
        if seen < 40 { found.append("confirming at once is not seen") }
        return found
    }

    /// What the simulation of pools is to test and does not reach.
    private static func findUnreached() -> [String] {
        var sums = [UInt64](repeating: 0, count: 12)
        var laneChanges = 0
        var closes: Set<CloseReason> = []
        var refusals: Set<Refusal> = []
        for seed in UInt64(1000)..<1024 {
            let simulator = Simulator(seed: seed)
            simulator.run(steps: 4000)
            let counters = simulator.pool.counters
            laneChanges += simulator.laneChanges
            let values = [
                counters.hits, counters.misses, counters.waits, counters.handOvers,
                counters.waitNanoseconds, counters.waitTimeouts, counters.cancels,
                counters.dials, counters.dialFailures, counters.probes, counters.probeFailures,
                counters.conversions,
            ]
            for index in values.indices { sums[index] += values[index] }
            closes.formUnion(CloseReason.allCases.filter { counters.closes($0) > 0 })
            refusals.formUnion(Refusal.allCases.filter { counters.refusals($0) > 0 })
        }
        let missed = wantedCloses.subtracting(closes).map { "\($0)" }
        let missedRefusals = wantedRefusals.subtracting(refusals).map { "\($0)" }
        var found = (missed + missedRefusals).map { "never reached: \($0)" }
        if !sums.allSatisfy({ $0 > 10 }) { found.append("too little happens: \(sums)") }
        if laneChanges <= 100 { found.append("too few changes of lane: \(laneChanges)") }
        return found
    }

    private static let wantedCloses: Set<CloseReason> = [
        .maxIdle, .idleTimeout, .maxLifetime, .pingFailed, .upstreamClosed, .upstreamReset,
        .connectFailed, .conversionFailed, .clientGone, .dirty, .replaced, .failoverSign,
        .addressChanged, .configChanged, .drain, .paused, .reconnect,
    ]
    private static let wantedRefusals: Set<Refusal> = [
        .poolTimeout, .upstreamDown, .pinLimit, .queueFull,
    ]
}
