import Pool
import Testing
import Topology

@Suite("Which replicas the tracker of Sentinels names")
struct SentinelReplicasTests {
    private func servers(_ numbers: [Int]) -> [NodeAddress] { numbers.map { .test(1, $0) } }

    private func up(_ numbers: Int..., others: Bool = false) -> SentinelReplicas {
        SentinelReplicas(up: servers(numbers), hasOthers: others)
    }

    /// All is quiet, replicas are wanted, and all Sentinels have been asked.
    private func reading(_ count: Int = 3) -> SentinelScript {
        let script = SentinelScript.settled(count, on: 1)
        script.pass(.seconds(1))
        script.wantReplicas(true)
        _ = script.actions()
        return script
    }

    @Test("all are asked when replicas are wanted, and none are named before an answer")
    func beginning() {
        let script = SentinelScript.settled(2, on: 1)
        script.pass(.seconds(1))
        script.wantReplicas(true)
        #expect(script.actions() == [ask(1), ask(2)])
        script.answer(1, claim(1, 1), replicas: up(2, 3))
        #expect(script.actions() == [.replicas(servers([2, 3]))])
        script.answer(2, claim(1, 1), replicas: up(3, 2))
        #expect(script.actions() == [])
    }

    @Test("a replica is named while one Sentinel says that it is up")
    func union() {
        let script = reading()
        script.answer(1, claim(1, 1), replicas: up(2))
        script.answer(2, claim(1, 1), replicas: up(3, others: true))
        #expect(script.replicas == servers([2, 3]))
        script.message(.switched, 2)
        script.pass(.milliseconds(20))
        script.answer(2, claim(1, 1), replicas: up())
        #expect(script.replicas == servers([2]))
    }

    @Test("Sentinels that name another primary are not heard, and it is no replica of itself")
    func otherClaims() {
        let script = reading()
        script.answer(1, claim(1, 1), replicas: up(1, 2))
        script.answer(2, claim(9, 0), replicas: up(7))
        script.answer(3, nil, replicas: up(8))
        #expect(script.replicas == servers([2]))
    }

    @Test("after a failover the replicas are those of the new primary")
    func failover() {
        let script = reading()
        for raw in 1...3 as ClosedRange<UInt32> {
            script.answer(raw, claim(1, 1), replicas: up(2, 3))
        }
        #expect(script.replicas == servers([2, 3]))
        script.message(.switched, 1)
        script.pass(.milliseconds(20))
        script.answer(1, claim(2, 2), replicas: up(2, 3))
        script.role(.primary, 2)
        let actions = script.actions().filter { if case .ask = $0 { false } else { true } }
        #expect(
            actions.suffix(3) == [
                .leave(.test(1, 1)), .adopt(claim(2, 2)), .replicas(servers([3])),
            ])
    }

    @Test("while no Sentinel says anything, the replicas stay; without a wish there are none")
    func silence() {
        let script = reading(1)
        script.answer(1, claim(1, 1), replicas: up(2))
        script.disconnected(1)
        #expect(script.replicas == servers([2]))
        script.pass(.seconds(5))
        script.connected(1)
        #expect(script.replicas == servers([2]))
        script.answer(1, claim(1, 1), replicas: nil)
        #expect(script.replicas == servers([2]))
        script.wantReplicas(false)
        #expect(script.replicas == [])
        #expect(script.actions().contains(.replicas([])))
    }

    @Test("there are at most sixteen")
    func many() {
        let script = reading()
        let all = servers(Array(2...60))
        script.answer(1, claim(1, 1), replicas: SentinelReplicas(up: all))
        #expect(script.replicas == Array(all.prefix(16)))
    }

    @Test("while a replica is not up, one Sentinel in turn is asked every two seconds")
    func impatience() {
        for (others, expected) in [(false, 2...3), (true, 9...11)] {
            let script = reading()
            for raw in 1...3 as ClosedRange<UInt32> {
                script.answer(raw, claim(1, 1), replicas: up(2, others: others))
            }
            var asked = 0
            for _ in 0..<200 {
                for case .ask(let id) in script.pass(.milliseconds(100)) {
                    asked += 1
                    script.answer(id.raw, claim(1, 1), replicas: up(2, others: others))
                }
            }
            #expect(expected.contains(asked))
        }
    }
}
