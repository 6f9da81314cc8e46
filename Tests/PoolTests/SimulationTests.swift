import Pool
import Testing

@Suite("Simulation")
struct SimulationTests {
    /// scripts/simulate runs many more, and sees to it that they reach what they are to test.
    @Test("whatever clients, server and clock do, the pool keeps its promises", arguments: 0..<7)
    func simulation(seed: UInt64) {
        let simulator = Simulator(seed: seed)
        simulator.run(steps: 5000)
        #expect(simulator.failure == nil)
    }
}
