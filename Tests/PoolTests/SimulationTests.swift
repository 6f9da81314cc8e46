import Pool
import Testing

@Suite("Simulation")
struct SimulationTests {
    @Test("whatever clients, server and clock do, the pool keeps its promises", arguments: 0..<200)
    func simulation(seed: UInt64) {
        let simulator = Simulator(seed: seed)
        simulator.run(steps: 5000)
        #expect(simulator.failure == nil)
    }

    @Test("the simulation reaches what it is to test")
    func coverage() {
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
        #expect(sums.allSatisfy { $0 > 10 }, "\(sums)")
        #expect(laneChanges > 100)
        #expect(refusals.isSuperset(of: [.poolTimeout, .upstreamDown, .pinLimit, .queueFull]))
        let expected: Set<CloseReason> = [
            .maxIdle, .idleTimeout, .maxLifetime, .pingFailed, .upstreamClosed, .upstreamReset,
            .connectFailed, .conversionFailed, .clientGone, .dirty, .replaced, .failoverSign,
            .addressChanged, .configChanged, .drain,
        ]
        #expect(expected.subtracting(closes) == [])
    }
}
