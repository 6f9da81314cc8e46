import Pool
import RESP
import TestSupport
import Testing
import Topology

private func bulk(_ text: String) -> [UInt8] {
    var output: [UInt8] = []
    Encode.bulk(text, into: &output)
    return output
}

private let one = "e7ca1437ac94ced25ef079f9788cbb6beeaeb947"
private let two = "db84ab69e560bf1a1d8baa1f0480ab49cc2b5bfb"

@Suite("What nodes of a cluster say")
struct ClusterNodesTests {
    private let asked = NodeAddress.test(1, 1)

    private func rows(
        _ text: String, prefer: ClusterNodeRow.Preference = .address
    ) -> [ClusterNodeRow]? {
        ClusterNodeRow.all(in: bulk(text), asked: asked, prefer: prefer)
    }

    @Test("CLUSTER NODES, as recorded")
    func recorded() throws {
        let text = """
            \(one) 127.0.0.1:22686@15242 master - 0 1795962167461 2 connected 5461-10921
            \(two) 127.0.0.1:29582@16382 myself,slave \(one) 0 0 1 connected
            \(one) :0@0 master,noaddr - 0 0 7 disconnected 1-2
            \(two) 127.0.0.1:29583@16382 handshake - 0 0 0 connected

            """
        let found = try #require(rows(text))
        let address = try #require(NodeAddress(host: Array("127.0.0.1".utf8), port: 22686))
        let other = try #require(NodeAddress(host: Array("127.0.0.1".utf8), port: 29582))
        let id = Array(one.utf8)
        #expect(
            found == [
                ClusterNodeRow(
                    id: id, address: address, isSpeaker: false, epoch: 2, slots: [5461...10921]),
                ClusterNodeRow(
                    id: Array(two.utf8), address: other, isSpeaker: true, isPrimary: false,
                    primaryID: id, epoch: 1, slots: []),
            ])
    }

    @Test("slots on their way are left out")
    func migrating() {
        let text =
            "\(one) 1.2.3.4:5@6 myself,master - 0 0 1 connected 0-1 7 [5->-\(two)] [6-<-\(two)]"
        #expect(rows(text)?.first?.slots == [0...1, 7...7])
    }

    @Test(
        "addresses and names",
        arguments: [
            ("1.2.3.4:5@6", "1.2.3.4:5", "1.2.3.4:5"), ("1.2.3.4:5", "1.2.3.4:5", "1.2.3.4:5"),
            ("::1:5@6", "[::1]:5", "[::1]:5"), (":5@6", "10.0.1.1:5", "10.0.1.1:5"),
            ("1.2.3.4:5@6,a.b", "1.2.3.4:5", "a.b:5"), ("1.2.3.4:5@6,", "1.2.3.4:5", "1.2.3.4:5"),
            ("1.2.3.4:5@6,,shard-id=x", "1.2.3.4:5", "1.2.3.4:5"),
            ("1.2.3.4:5@6,shard-id=x", "1.2.3.4:5", "1.2.3.4:5"),
            ("1.2.3.4@6", "nil", "nil"), ("1.2.3.4:99999@6", "nil", "nil"), ("@", "nil", "nil"),
        ])
    func addresses(word: String, address: String, name: String) {
        let text = "\(one) \(word) myself,master - 0 0 1 connected 0-1"
        #expect(rows(text)?.first?.address?.description ?? "nil" == address)
        #expect(rows(text, prefer: .name)?.first?.address?.description ?? "nil" == name)
    }

    @Test(
        "what is not understood is not believed in parts",
        arguments: [
            "", "x", "\(one) 1.2.3.4:5@6 master - 0 0 1",
            "\(one)1 1.2.3.4:5@6 master - 0 0 1 c 0-1",
            "\(one) 1.2.3.4:5@6 master - 0 0 -1 c 0-1", "\(one) 1.2.3.4:5@6 master - 0 0 1 c 1-0",
            "\(one) 1.2.3.4:5@6 master - 0 0 1 c 0-16384",
            "\(one) 1.2.3.4:5@6 master - 0 0 1 c 1-2-3",
            "\(one) 1.2.3.4:5@6 master - 0 0 1 c x", "\(one) 1.2.3.4:5@6 master - 0 0 1 c -1",
            "\(one) 1.2.3.4:5@6 master - 0 0 9223372036854775807 c 0-1",
        ])
    func strange(text: String) {
        #expect(rows(text) == nil)
        #expect(ClusterNodeRow.all(in: Array(text.utf8), asked: asked) == nil)
    }

    @Test("no bytes trap", arguments: 0..<6)
    func damaged(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let whole = bulk(
            "\(one) 1.2.3.4:5@6,name myself,master - 0 0 1 connected 0-1 7 [5->-\(two)]\n"
                + "\(two) 1.2.3.4:7@6 slave \(one) 0 0 1 connected\n")
        for _ in 0..<500 {
            var reply = whole
            for _ in 0..<(1 + random.below(4)) {
                reply[random.below(reply.count)] = UInt8(truncatingIfNeeded: random.next())
            }
            let rows = ClusterNodeRow.all(in: reply, asked: asked) ?? []
            #expect(rows.allSatisfy { $0.epoch >= 0 })
        }
    }
}

@Suite("Who serves which slot")
struct ClusterTrackerTests {
    /// A tracker with one seed, which has answered that two nodes have half of the slots each.
    private final class Script {
        var tracker: ClusterTracker
        var now = MonotonicTime(nanoseconds: .seconds(1000))

        init(answers: Bool = true) {
            tracker = ClusterTracker(seeds: [.test(1, 0)], seed: 1, now: now)
            _ = actions()
            guard answers else { return }
            answer(0, [row(0, 1, [0...8191], true), row(1, 2, [8192...16383])])
            #expect(asks() == [.test(1, 1)])
            answer(1, [row(0, 1, [0...8191]), row(1, 2, [8192...16383], true)])
            _ = actions()
        }

        func answer(_ number: Int, _ rows: [ClusterNodeRow]?) {
            tracker.answered(.test(1, number), rows, now: now)
        }

        func actions() -> [ClusterAction] {
            var actions: [ClusterAction] = []
            while let action = tracker.nextAction() { actions.append(action) }
            return actions
        }

        func asks() -> [NodeAddress] {
            actions().compactMap { if case .ask(let address) = $0 { address } else { nil } }
        }

        func owner(_ slot: UInt16) -> NodeAddress? { tracker.map?.owner(of: slot)?.address }
    }

    private static func row(
        _ number: Int, _ epoch: Int64, _ slots: [ClosedRange<UInt16>], _ isSpeaker: Bool = false
    ) -> ClusterNodeRow {
        ClusterNodeRow(
            id: Array("node \(number)".utf8), address: .test(1, number), isSpeaker: isSpeaker,
            epoch: epoch, slots: slots)
    }

    @Test("the first map is published when it is whole, or after two seconds")
    func first() {
        let whole = Script()
        #expect(whole.tracker.map?.isWhole == true && whole.tracker.map?.version == 1)
        #expect(whole.owner(8191) == .test(1, 0) && whole.owner(8192) == .test(1, 1))

        let half = Script(answers: false)
        half.answer(0, [row(0, 1, [0...100], true)])
        #expect(half.tracker.map == nil)
        half.now = half.now + .seconds(2)
        half.tracker.tick(now: half.now)
        #expect(half.tracker.map?.served == 101)
        #expect(half.owner(101) == nil && half.owner(.max) == nil)
    }

    private func row(
        _ number: Int, _ epoch: Int64, _ slots: [ClosedRange<UInt16>], _ isSpeaker: Bool = false
    ) -> ClusterNodeRow {
        Self.row(number, epoch, slots, isSpeaker)
    }

    /// The next question is asked, and answered by node 1.
    private func answerLater(_ script: Script, _ rows: [ClusterNodeRow]) {
        script.tracker.clusterDown(now: script.now)
        script.now = script.now + .milliseconds(600)
        script.tracker.tick(now: script.now)
        #expect(script.asks().contains(.test(1, 1)))
        script.answer(1, rows)
        script.answer(0, nil)
    }

    @Test("a lower epoch changes nothing, a higher one its slots")
    func epochs() {
        let script = Script()
        answerLater(script, [row(0, 1, []), row(1, 2, [0...8191], true)])
        #expect(script.owner(0) == .test(1, 1) && script.owner(8192) == .test(1, 1))
        #expect(script.tracker.map?.version == 2)
        answerLater(script, [row(0, 1, [0...8191]), row(1, 2, [8192...16383], true)])
        #expect(script.owner(0) == .test(1, 1))
        answerLater(script, [row(0, 3, [0...0]), row(1, 2, [1...16383], true)])
        #expect(script.owner(0) == .test(1, 0) && script.owner(1) == .test(1, 1))
        #expect(script.tracker.map?.version == 3)
    }

    @Test("MOVED counts at once, and until an answer that was asked for later")
    func moved() {
        let script = Script()
        script.now = script.now + .seconds(1)
        script.tracker.moved(5, to: .test(1, 7), now: script.now)
        #expect(script.owner(5) == .test(1, 7) && script.owner(6) == .test(1, 0))
        #expect(script.asks() == [.test(1, 7)])
        for slot in 6..<100 as Range<UInt16> {
            script.tracker.moved(slot, to: .test(1, 7), now: script.now)
        }
        #expect(script.asks() == [])
        script.answer(
            7,
            [
                row(7, 3, [5...99], true), row(0, 1, [0...4, 100...8191]),
                row(1, 2, [8192...16383]),
            ])
        #expect((5...99).allSatisfy { script.owner($0) == .test(1, 7) })
        #expect(script.tracker.map?.nodes.count == 3)
    }

    @Test("MOVED to a node that does not have the slot, or does not exist, is forgotten")
    func falseMoved() {
        let script = Script()
        script.now = script.now + .seconds(1)
        script.tracker.moved(5, to: .test(1, 1), now: script.now)
        #expect(script.owner(5) == .test(1, 1))
        #expect(script.asks() == [.test(1, 1)])
        script.answer(1, [row(0, 1, [0...8191]), row(1, 2, [8192...16383], true)])
        #expect(script.owner(5) == .test(1, 0))
        script.tracker.moved(5, to: .test(1, 9), now: script.now)
        #expect(script.owner(5) == .test(1, 9))
        script.tracker.unanswered(.test(1, 9), now: script.now)
        #expect(script.owner(5) == .test(1, 0))
        #expect(script.tracker.map?.nodes.contains { $0.address == .test(1, 9) } == false)
    }

    @Test("what no slot and no room is for is not followed")
    func bounds() {
        let script = Script()
        script.tracker.moved(16384, to: .test(1, 7), now: script.now)
        script.tracker.moved(.max, to: .test(1, 7), now: script.now)
        #expect(script.actions().isEmpty)
        for number in 2..<100 {
            script.tracker.moved(UInt16(number), to: .test(1, number), now: script.now)
        }
        #expect(script.tracker.map?.nodes.count == 64)
    }

    @Test("a node that nobody names any more gives its slots to anybody")
    func forgotten() {
        let script = Script()
        answerLater(script, [row(2, 1, [0...8191]), row(1, 2, [8192...16383], true)])
        #expect(script.owner(0) == .test(1, 0))
        script.now = script.now + .milliseconds(600)
        script.tracker.tick(now: script.now)
        script.answer(0, [row(2, 1, [0...8191]), row(1, 2, [8192...16383])])
        #expect(script.owner(0) == .test(1, 2))
    }

    @Test("the loss of a primary makes all be asked until another one has its slots")
    func lost() {
        let script = Script()
        script.now = script.now + .seconds(1)
        script.tracker.lost(.test(1, 0), now: script.now)
        #expect(Set(script.asks()) == [.test(1, 0), .test(1, 1)])
        script.tracker.unanswered(.test(1, 0), now: script.now)
        script.answer(1, [row(0, 1, [0...8191]), row(1, 2, [8192...16383], true)])
        script.now = script.now + .milliseconds(500)
        script.tracker.tick(now: script.now)
        #expect(script.asks().contains(.test(1, 1)))
        script.answer(1, [row(0, 1, []), row(1, 3, [0...16383], true)])
        script.now = script.now + .seconds(2)
        script.tracker.tick(now: script.now)
        #expect(script.owner(0) == .test(1, 1))
        #expect(script.asks() == [])
    }

    @Test("without epochs the latest answer counts, but for what MOVED has said since it was asked")
    func noEpochs() {
        let script = Script(answers: false)
        script.answer(0, [row(0, 0, [0...8191], true), row(1, 0, [8192...16383])])
        _ = script.actions()
        script.tracker.clusterDown(now: script.now)
        script.now = script.now + .milliseconds(600)
        script.tracker.tick(now: script.now)
        script.now = script.now + .milliseconds(1)
        script.tracker.moved(7, to: .test(1, 1), now: script.now)
        script.answer(1, [row(0, 0, [0...7, 9...8191]), row(1, 0, [8...8, 8192...16383], true)])
        #expect(script.owner(7) == .test(1, 1) && script.owner(8) == .test(1, 1))
        #expect(script.owner(9) == .test(1, 0))
    }

    @Test("an id with another address is the same node")
    func address() {
        let script = Script()
        let moved = ClusterNodeRow(
            id: Array("node 0".utf8), address: .test(1, 5), isSpeaker: false, epoch: 1,
            slots: [0...8191])
        answerLater(script, [moved, row(1, 2, [8192...16383], true)])
        #expect(script.owner(0) == .test(1, 5))
        #expect(script.tracker.map?.version == 1)
    }

    @Test("a node that MOVED names by another address than it announces is one node")
    func alias() {
        let script = Script()
        script.now = script.now + .seconds(1)
        script.tracker.moved(5, to: .test(2, 1), now: script.now)
        #expect(script.owner(5) == .test(2, 1) && script.asks() == [.test(2, 1)])
        script.tracker.answered(
            .test(2, 1), [row(0, 1, [0...4, 6...8191]), row(1, 3, [5...5, 8192...16383], true)],
            now: script.now)
        #expect(script.owner(5) == .test(1, 1))
        #expect(script.tracker.map?.nodes.map(\.address) == [.test(1, 0), .test(1, 1)])
        script.now = script.now + .seconds(1)
        script.tracker.tick(now: script.now)
        #expect(script.asks() == [])
    }

    @Test("a cluster that is made anew at the same addresses is another one")
    func anew() {
        let script = Script()
        func fresh(_ number: Int, _ slots: ClosedRange<UInt16>, _ speaker: Int) -> ClusterNodeRow {
            ClusterNodeRow(
                id: Array("fresh \(number)".utf8), address: .test(1, number),
                isSpeaker: number == speaker, epoch: Int64(number), slots: [slots])
        }
        script.tracker.clusterDown(now: script.now)
        script.now = script.now + .milliseconds(600)
        script.tracker.tick(now: script.now)
        #expect(Set(script.asks()) == [.test(1, 0), .test(1, 1)])
        for number in 0...1 {
            script.answer(
                number, [fresh(0, 8192...16383, number), fresh(1, 0...8191, number)])
        }
        #expect(script.owner(0) == .test(1, 1) && script.owner(8192) == .test(1, 0))
        #expect(script.tracker.map?.nodes.map(\.id).contains(Array("node 0".utf8)) == false)
    }

    @Test("while no node answers, the addresses of the configuration are asked again")
    func seedsAgain() {
        let script = Script()
        script.now = script.now + .seconds(1)
        script.tracker.setSeeds([.test(3, 0)], now: script.now)
        #expect(script.asks() == [])
        for number in 0...1 { script.tracker.lost(.test(1, number), now: script.now) }
        #expect(Set(script.asks()) == [.test(1, 0), .test(1, 1), .test(3, 0)])
        let moved = ClusterNodeRow(
            id: Array("node 0".utf8), address: .test(3, 5), isSpeaker: true, epoch: 1,
            slots: [0...8191])
        script.tracker.answered(.test(3, 0), [moved, row(1, 2, [8192...16383])], now: script.now)
        #expect(script.owner(0) == .test(3, 5))
    }

    @Test("a node that is missed and has no slots is asked whenever another one is")
    func missed() {
        let script = Script()
        answerLater(script, [row(0, 1, []), row(1, 3, [0...16383], true)])
        script.now = script.now + .seconds(3)
        script.tracker.lost(.test(1, 0), now: script.now)
        _ = script.actions()
        for _ in 0..<4 {
            script.tracker.unanswered(.test(1, 0), now: script.now)
            script.answer(1, [row(0, 1, []), row(1, 3, [0...16383], true)])
            _ = script.actions()
            script.now = script.now + .seconds(17)
            script.tracker.tick(now: script.now)
            #expect(script.asks().contains(.test(1, 0)))
        }
    }

    @Test("slots that move together make one map")
    func together() {
        let script = Script()
        script.tracker.moved([1: .test(1, 1), 2: .test(1, 1)], now: script.now)
        let maps = script.actions().filter { if case .publish = $0 { true } else { false } }
        #expect(maps.count == 1 && script.owner(1) == .test(1, 1) && script.owner(2) == .test(1, 1))
    }

    @Test("other limits count at once")
    func limits() {
        let script = Script()
        script.tracker.configure(refreshInterval: .seconds(1), mostNodes: 2, now: script.now)
        script.tracker.moved(1, to: .test(1, 9), now: script.now)
        #expect(script.owner(1) == .test(1, 0))
        script.now = script.now + .seconds(1)
        script.tracker.tick(now: script.now)
        #expect(script.asks().count == 1)
    }

    /// scripts/simulate runs many more.
    @Test("whatever happens in the cluster, the map becomes true", arguments: 0..<3)
    func simulation(seed: UInt64) {
        let world = ClusterWorld(seed: seed)
        world.run(steps: 600)
        #expect(world.failure == nil)
    }
}
