import Pool
import RESP
import TestSupport
import Testing
import Topology

@Suite("What servers say of their replication")
struct ReplicationInfoTests {
    private static let history = "7076977f5a735b0b09f00b8f47cdec5d25385dc6"

    private func text(_ lines: [String]) -> [UInt8] {
        let text = lines.map { "\($0)\r\n" }.joined()
        return Array("$\(text.utf8.count)\r\n\(text)\r\n".utf8)
    }

    private func primary(
        _ role: String = "master", history: String = history, offset: String = "1234"
    ) -> [UInt8] {
        text([
            "# Replication", "role:\(role)", "connected_slaves:1",
            "slave0:ip=127.0.0.1,port=29112,state=online,offset=1220,lag=0",
            "master_failover_state:no-failover", "master_replid:\(history)",
            "master_replid2:0000000000000000000000000000000000000000",
            "master_repl_offset:\(offset)", "second_repl_offset:-1", "repl_backlog_active:1",
        ])
    }

    private func replica(link: String = "up", offset: String = "1220") -> [UInt8] {
        text([
            "# Replication", "role:slave", "master_host:127.0.0.1", "master_port:29111",
            "master_link_status:\(link)", "master_last_io_seconds_ago:0",
            "master_sync_in_progress:0", "slave_read_repl_offset:1230",
            "slave_repl_offset:\(offset)", "slave_priority:100", "slave_read_only:1",
            "connected_slaves:0", "master_replid:\(Self.history)", "master_repl_offset:1220",
        ])
    }

    @Test("a primary")
    func primaryIsRead() {
        let expected = ReplicationInfo(
            role: .primary, history: Array(Self.history.utf8), offset: 1234)
        #expect(ReplicationInfo(primary()) == expected)
    }

    @Test("a replica, with a link and without", arguments: ["up", "down", ""])
    func replicaIsRead(link: String) {
        let expected = ReplicationInfo(
            role: .replica(isLinked: link == "up"), history: Array(Self.history.utf8),
            offset: 1220)
        #expect(ReplicationInfo(replica(link: link)) == expected)
    }

    @Test("what is not understood")
    func nothingElse() {
        let wrong = [
            primary("sentinel"), primary(history: "1234"), primary(offset: "-1"),
            primary(offset: "01"), primary(offset: "9223372036854775807"), primary(offset: ""),
            replica(offset: "-1"), text(["role:slave", "master_replid:\(Self.history)"]),
            text([]), Array("-NOAUTH Authentication required.\r\n".utf8),
            Array("$-1\r\n".utf8), Array("*0\r\n".utf8), Array("$400\r\nrole:".utf8), [],
        ]
        for reply in wrong { #expect(ReplicationInfo(reply) == nil) }
    }
}

@Suite("Until when replicas have all writes")
struct ReplicaProofTests {
    private func at(_ seconds: Int64) -> MonotonicTime {
        MonotonicTime(nanoseconds: .seconds(seconds))
    }

    private func primary(_ offset: Int64, _ history: String = "a") -> ReplicationInfo {
        ReplicationInfo(role: .primary, history: Array(history.utf8), offset: offset)
    }

    private func replica(
        _ offset: Int64, _ history: String = "a", isLinked: Bool = true
    ) -> ReplicationInfo {
        ReplicationInfo(
            role: .replica(isLinked: isLinked), history: Array(history.utf8), offset: offset)
    }

    @Test("nothing is proven before both have answered, the primary first")
    func needsBoth() {
        var proofs = ReplicaProofs()
        proofs.replicaAnswered(1, replica(100))
        #expect(proofs.provenUntil(1) == nil)
        proofs.primaryAnswered(primary(100), askedAt: at(1))
        #expect(proofs.provenUntil(1) == nil)
        proofs.replicaAnswered(1, replica(100))
        #expect(proofs.provenUntil(1) == at(1))
    }

    @Test("a replica that is behind is proven for the time when the primary was where it is")
    func behind() {
        var proofs = ReplicaProofs()
        for second in Int64(1)...9 {
            proofs.primaryAnswered(primary(100 * second), askedAt: at(second))
        }
        proofs.replicaAnswered(1, replica(99))
        #expect(proofs.provenUntil(1) == nil)
        proofs.replicaAnswered(1, replica(499))
        #expect(proofs.provenUntil(1) == at(4))
        #expect(proofs.mayRead(from: 1, after: at(3), maxLag: .seconds(6), now: at(9)))
        #expect(!proofs.mayRead(from: 1, after: at(4), maxLag: .seconds(6), now: at(9)))
        #expect(!proofs.mayRead(from: 1, after: at(3), maxLag: .seconds(6), now: at(10)))
        proofs.replicaAnswered(1, replica(1000))
        #expect(proofs.provenUntil(1) == at(9))
    }

    @Test("a primary without writes proves more with each answer")
    func quiet() {
        var proofs = ReplicaProofs()
        for second in Int64(1)...1000 {
            proofs.primaryAnswered(primary(100), askedAt: at(second))
            proofs.replicaAnswered(1, replica(100))
            #expect(proofs.provenUntil(1) == at(second))
        }
    }

    @Test("however far a replica is behind, something is proven")
    func farBehind() throws {
        var proofs = ReplicaProofs()
        for second in Int64(1)...2000 {
            proofs.primaryAnswered(primary(100 * second), askedAt: at(second))
        }
        proofs.replicaAnswered(1, replica(100 * 1000))
        let until = try #require(proofs.provenUntil(1))
        #expect(until <= at(1000) && until > at(0))
    }

    @Test("another history, a lost link, older data, another role prove nothing")
    func forgets() {
        let answers: [(ReplicationInfo, MonotonicTime?)] = [
            (replica(100), at(1)), (replica(300, "b"), nil), (replica(300, isLinked: false), nil),
            (primary(300), nil), (replica(50), nil),
        ]
        for (answer, until) in answers {
            var proofs = ReplicaProofs()
            proofs.primaryAnswered(primary(100), askedAt: at(1))
            proofs.primaryAnswered(primary(200), askedAt: at(2))
            proofs.replicaAnswered(1, replica(250))
            proofs.replicaAnswered(2, replica(250))
            proofs.replicaAnswered(1, answer)
            #expect(proofs.provenUntil(1) == until)
            #expect(proofs.provenUntil(2) == at(2))
        }
    }

    @Test("the primary begins another history, goes back, or is none any more")
    func primaryChanges() {
        for answer in [primary(300, "b"), primary(150), replica(300)] {
            var proofs = ReplicaProofs()
            proofs.primaryAnswered(primary(200), askedAt: at(1))
            proofs.replicaAnswered(1, replica(250))
            proofs.primaryAnswered(answer, askedAt: at(2))
            #expect(proofs.provenUntil(1) == nil)
        }
    }

    @Test("an older question proves nothing new")
    func olderQuestion() {
        var proofs = ReplicaProofs()
        proofs.primaryAnswered(primary(100), askedAt: at(5))
        proofs.primaryAnswered(primary(200), askedAt: at(4))
        proofs.replicaAnswered(1, replica(150))
        #expect(proofs.provenUntil(1) == at(5))
    }
}

@Suite("Where clients read")
struct ReplicaReadTests {
    private func at(_ seconds: Int64) -> MonotonicTime {
        MonotonicTime(nanoseconds: .seconds(seconds))
    }

    @Test("a write counts from the time when nothing is in flight any more")
    func ownWrites() throws {
        var writes = OwnWrites()
        #expect(writes.answeredBy(isWaiting: true, now: at(1)) == at(0))
        writes.wrote()
        #expect(writes.answeredBy(isWaiting: true, now: at(2)) == nil)
        #expect(writes.answeredBy(isWaiting: false, now: at(3)) == at(3))
        #expect(writes.answeredBy(isWaiting: true, now: at(4)) == at(3))
        writes.wrote()
        writes.wrote()
        #expect(writes.answeredBy(isWaiting: false, now: at(5)) == at(5))
        #expect(writes.answeredBy(isWaiting: false, now: at(6)) == at(5))
    }

    @Test("clients are spread over all replicas, and each has a choice of two")
    func choice() {
        #expect(ReplicaChoice.pick(of: [Int](), client: 1) { $0 } == nil)
        #expect(ReplicaChoice.pick(of: [7], client: 1) { $0 } == 7)
        for count in 2...5 {
            let replicas = Array(0..<count)
            var firsts = [Int](repeating: 0, count: count)
            for client in UInt64(0)..<1000 {
                let first = ReplicaChoice.pick(of: replicas, client: client) { _ in 0 }
                let other = ReplicaChoice.pick(of: replicas, client: client) {
                    $0 == first ? 1 : 0
                }
                #expect(first != other)
                if let first { firsts[first] += 1 }
                #expect(ReplicaChoice.pick(of: replicas, client: client) { _ in 0 } == first)
            }
            for found in firsts { #expect(found > 1000 / count / 2) }
        }
    }

    @Test("no client misses a write of its own", arguments: UInt64(0)..<12)
    func simulation(seed: UInt64) {
        let world = ReplicaWorld(seed: seed)
        world.run(steps: 5000)
        #expect(world.failure == nil)
        #expect(world.replicaReads > 100)
    }

    @Test(
        "without a rule some do",
        arguments: ReplicaWorld.Broken.allCases.filter { $0 != .nothing })
    func broken(rule: ReplicaWorld.Broken) {
        let failures = (UInt64(0)..<12).compactMap { seed in
            let world = ReplicaWorld(seed: seed, broken: rule)
            world.run(steps: 5000)
            return world.failure
        }
        #expect(failures.count >= 3)
    }
}
