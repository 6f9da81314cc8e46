import Pool
import Testing
import Topology

@Suite("Whom the tracker of Sentinels asks, and when")
struct SentinelAskingTests {
    private let three: [UInt32: PrimaryClaim] = [1: claim(1, 1), 2: claim(1, 1), 3: claim(1, 1)]

    @Test("in quiet times one Sentinel in turn is asked every ten seconds")
    func quiet() {
        let script = SentinelScript.settled(3, on: 1)
        var asked: [SentinelAction] = []
        for _ in 0..<60 {
            asked += script.pass(.seconds(1))
            for raw in 1...3 as ClosedRange<UInt32> { script.answer(raw, claim(1, 1)) }
        }
        #expect(asked.count == 6)
        #expect(Set(asked.prefix(3).map { "\($0)" }).count == 3)
    }

    @Test("after READONLY or a loss all are asked, and the server is, at most every half second")
    func trouble() {
        let script = SentinelScript.settled(3, on: 1)
        script.pass(.seconds(1), three)
        for _ in 0..<50 { script.doubt(1) }
        let actions = script.actions()
        #expect(actions.filter { $0 == .verify(.test(1, 1)) }.count == 1)
        #expect((1...3).allSatisfy { number in actions.filter { $0 == ask(number) }.count == 1 })
        #expect(!script.isVerified)
        script.doubt(2)
        script.role(.primary, 1)
        #expect(script.isVerified)
    }

    @Test("a primary that has become a replica is left once, and dialled again when it is one")
    func replica() {
        let script = SentinelScript.settled(3, on: 1)
        script.role(.other, 1)
        #expect(script.actions().contains(.leave(.test(1, 1))))
        script.role(.other, 1)
        #expect(!script.actions().contains(.leave(.test(1, 1))))
        script.role(.primary, 1)
        #expect(script.isVerified)
        #expect(script.actions().filter(isAboutUse) == [.adopt(claim(1, 1))])
        script.role(.primary, 1)
        #expect(script.actions().filter(isAboutUse) == [])
        script.role(.other, 1)
        #expect(script.actions().contains(.leave(.test(1, 1))))
    }

    private func isAboutUse(_ action: SentinelAction) -> Bool {
        switch action {
        case .leave, .adopt: true
        default: false
        }
    }

    /// Two failovers, of which the Sentinels' word comes late.
    @Test("a primary that was left is dialled again, under a higher epoch too, if it is one")
    func replicaAndBack() {
        let script = SentinelScript.settled(3, on: 1)
        script.role(.other, 1)
        #expect(script.actions().filter(isAboutUse) == [.leave(.test(1, 1))])
        let actions = script.pass(
            .seconds(1), [1: claim(1, 3), 2: claim(1, 3), 3: claim(1, 3)])
        #expect(script.primary == claim(1, 3) && !script.isVerified)
        #expect(actions.filter(isAboutUse) == [])
        script.role(.primary, 1)
        #expect(script.actions().filter(isAboutUse) == [.adopt(claim(1, 3))])
    }

    @Test("a primary that was left is not dialled again when another one has taken its place")
    func replicaForGood() {
        let script = SentinelScript.settled(3, on: 1)
        script.role(.other, 1)
        let actions = script.pass(
            .seconds(1), [1: claim(2, 2), 2: claim(2, 2), 3: claim(2, 2)])
        #expect(actions.filter(isAboutUse) == [.leave(.test(1, 1)), .adopt(claim(2, 2))])
        script.role(.primary, 1)
        script.role(.primary, 2)
        #expect(script.actions().filter(isAboutUse) == [])
    }

    @Test("a flood of messages makes the sender be asked again and again, not at once")
    func flood() {
        let script = SentinelScript.settled(1, on: 1)
        var asked = 0
        for _ in 0..<1000 {
            script.message(.switched, 1)
            for case .ask in script.pass(.milliseconds(1)) { asked += 1 }
        }
        #expect(asked == 1)
        let busy = SentinelScript.settled(1, on: 1)
        for _ in 0..<1000 {
            busy.message(.switched, 1)
            for case .ask in busy.actions() {
                asked += 1
                busy.answer(1, claim(1, 1))
            }
            busy.pass(.milliseconds(1), [1: claim(1, 1)])
        }
        #expect(asked <= 51)
    }

    @Test("a Sentinel that does not answer is closed, and connected again after about a second")
    func silent() {
        let script = SentinelScript.settled(3, on: 1)
        script.message(.switched, 2)
        #expect(script.actions() == [ask(2)])
        let answers = three.filter { $0.key != 2 }
        #expect(script.pass(.milliseconds(999), answers) == [])
        #expect(script.pass(.milliseconds(1), answers) == [.close(SentinelID(raw: 2))])
        #expect(script.connectedSentinels == 2)
        let again = SentinelAction.connect(SentinelID(raw: 2), .test(2, 2))
        #expect(script.pass(.milliseconds(999), answers) == [])
        #expect(script.pass(.milliseconds(251), answers) == [again])
        #expect(script.pass(.milliseconds(1000), answers) == [.close(SentinelID(raw: 2))])
    }

    /// How often Sentinel 2 is dialled in a minute in which its connections end at once.
    private func dials(_ script: SentinelScript, _ answers: [UInt32: PrimaryClaim]) -> Int {
        script.disconnected(2)
        var dials = 0
        for _ in 0..<6000 {
            for case .connect(SentinelID(raw: 2), _) in script.pass(.milliseconds(10), answers) {
                dials += 1
                script.disconnected(2)
            }
        }
        return dials
    }

    @Test("a Sentinel that stays away is dialled less and less often, but not while it is needed")
    func patience() {
        let answers = three.filter { $0.key != 2 }
        #expect((7...10).contains(dials(SentinelScript.settled(3, on: 1), answers)))
        let doubtful = SentinelScript.settled(3, on: 1)
        doubtful.doubt(1)
        #expect((48...60).contains(dials(doubtful, answers)))
        let lonely = SentinelScript.settled(3, on: 1)
        for raw in [1, 3] as [UInt32] { lonely.disconnected(raw) }
        #expect((48...60).contains(dials(lonely, [:])))
    }

    @Test("with another login all connections are made anew at once, and the primary stays")
    func anotherLogin() {
        let script = SentinelScript.settled(2, on: 1)
        script.reconnect()
        #expect(
            script.actions() == [
                .close(SentinelID(raw: 1)), .close(SentinelID(raw: 2)),
                .connect(SentinelID(raw: 1), .test(2, 1)),
                .connect(SentinelID(raw: 2), .test(2, 2)),
            ])
        #expect(script.primary == claim(1, 1))
    }

    @Test("when all Sentinels are lost, the primary stays")
    func allLost() {
        let script = SentinelScript.settled(3, on: 1)
        for raw in 1...3 as ClosedRange<UInt32> { script.disconnected(raw) }
        let actions = script.pass(.seconds(60))
        #expect(script.connectedSentinels == 0)
        #expect(script.primary == claim(1, 1) && script.isVerified)
        #expect(
            actions.allSatisfy {
                if case .connect = $0 { true } else if case .close = $0 { true } else { false }
            })
    }

    private func peer(_ number: Int) -> SentinelPeer {
        SentinelPeer(
            address: .test(2, number), runID: [UInt8](repeating: UInt8(48 + number), count: 40))
    }

    @Test("Sentinels that others name are watched, eight in all, and count when they answer")
    func found() {
        let script = SentinelScript(1, connected: 1...1)
        script.answer(1, claim(1, 1), peers: (2...20).map(peer))
        #expect(script.known.count == 8)
        for raw in 2...8 as ClosedRange<UInt32> { script.disconnected(raw) }
        #expect(script.primary == claim(1, 1))
        script.pass(.milliseconds(900), [1: claim(1, 1)])
        // They have never answered, so the one that does is a majority.
        script.message(.switched, 1)
        _ = script.actions()
        script.answer(1, claim(2, 2), peers: (2...20).map(peer))
        #expect(script.primary == claim(2, 2))
    }

    @Test("one that two answers in a row do not name is forgotten")
    func forgotten() {
        let script = SentinelScript(1, connected: 1...1)
        script.answer(1, claim(1, 1), peers: [peer(2), peer(3)])
        script.connected(2)
        _ = script.actions()
        for expected in [3, 2] {
            script.pass(.milliseconds(600))
            script.answer(1, claim(1, 1), peers: [peer(3)])
            #expect(script.known.count == expected)
        }
        #expect(!script.known.contains(.test(2, 2)))
    }

    @Test("one Sentinel under two addresses is one")
    func double() {
        let own = String(decoding: peer(2).runID, as: UTF8.self)
        let script = SentinelScript(2, connected: 1...2)
        script.answer(1, claim(1, 1), runID: own)
        script.answer(2, claim(1, 1), runID: own)
        script.role(.primary, 1)
        #expect(script.known.count == 2)
        script.pass(.milliseconds(100))
        let third = SentinelPeer(address: .test(2, 9), runID: peer(9).runID)
        let again = SentinelPeer(address: .test(2, 7), runID: peer(2).runID)
        script.message(.switched, 1)
        _ = script.actions()
        script.answer(1, claim(1, 1), runID: own, peers: [third, again])
        #expect(script.known.count == 3 && !script.known.contains(.test(2, 7)))
    }

    @Test("a reload adds and removes Sentinels")
    func reload() {
        let script = SentinelScript.settled(2, on: 1)
        script.setSentinels([2, 3])
        #expect(
            script.actions() == [
                .close(SentinelID(raw: 1)), .connect(SentinelID(raw: 3), .test(2, 3)),
            ])
        #expect(script.known == [.test(2, 2), .test(2, 3)])
        script.answer(1, claim(2, 9))
        script.disconnected(1)
        script.connected(1)
        #expect(script.actions() == [])
    }
}

@Suite("Sentinels, simulated")
struct SentinelSimulationTests {
    /// scripts/simulate runs many more.
    @Test("whatever they say, the tracker finds the primary", arguments: 0..<6)
    func simulation(seed: UInt64) {
        let world = SentinelWorld(seed: seed)
        world.run(steps: 3000)
        #expect(world.failure == nil)
    }
}
