import Pool
import Testing
import Topology

@Suite("Who the primary is, by what Sentinels say")
struct SentinelTrackerTests {
    @Test("at the start all Sentinels are connected, and each is asked behind its subscription")
    func start() {
        let script = SentinelScript(2)
        script.connected(1)
        #expect(script.actions() == [ask(1)])
        script.connected(2)
        #expect(script.actions() == [ask(2)])
        #expect(script.connectedSentinels == 2)
    }

    @Test("the fastest Sentinel does not decide, the highest epoch does")
    func first() {
        let script = SentinelScript(3, connected: 1...3)
        script.answer(1, claim(1, 4))
        script.answer(2, claim(2, 5))
        #expect(script.primary == nil)
        script.answer(3, claim(1, 4))
        #expect(script.actions().contains(.adopt(claim(2, 5))))
    }

    @Test("a majority decides at once, and Sentinels that do not answer are waited for a second")
    func firstWithoutAll() {
        let majority = SentinelScript(3, connected: 1...3)
        majority.answer(1, claim(1, 4))
        majority.answer(2, claim(1, 4))
        #expect(majority.primary == claim(1, 4))

        let late = SentinelScript(3, connected: 1...3)
        late.answer(1, claim(1, 4))
        late.pass(.milliseconds(990), [1: claim(1, 4)])
        #expect(late.primary == nil)
        late.pass(.milliseconds(20), [1: claim(1, 4)])
        #expect(late.primary == claim(1, 4))

        let others = SentinelScript(3, connected: 1...1)
        others.answer(1, claim(1, 4))
        others.disconnected(2)
        #expect(others.primary == nil)
        others.disconnected(3)
        #expect(others.primary == claim(1, 4))
    }

    /// The course of the recorded failover: the leader knows first, its message comes later.
    @Test("the old primary is left in the turn in which the new one is adopted")
    func failover() {
        let script = SentinelScript.settled(3, on: 1)
        script.message(.switched, 2)
        #expect(script.actions() == [ask(2)])
        script.answer(2, claim(2, 2))
        #expect(script.actions() == [.verify(.test(1, 2))])
        #expect(script.primary == claim(1, 1))
        script.role(.primary, 2)
        let actions = script.actions()
        #expect(actions.prefix(2) == [.leave(.test(1, 1)), .adopt(claim(2, 2))])
        #expect(script.isVerified)
        #expect(!actions.contains(.verify(.test(1, 2))))
    }

    @Test("a majority needs no ROLE; the server is asked for it all the same")
    func majority() {
        let script = SentinelScript.settled(3, on: 1)
        for raw in 1...3 as ClosedRange<UInt32> { script.message(.switched, raw) }
        script.answer(1, claim(2, 2))
        script.role(nil, 2)
        #expect(script.primary == claim(1, 1))
        script.answer(2, claim(2, 2))
        #expect(script.primary == claim(2, 2))
        #expect(!script.isVerified)
        let actions = script.actions() + script.pass(.milliseconds(600))
        #expect(actions.contains(.adopt(claim(2, 2))))
        #expect(actions.filter { $0 == .verify(.test(1, 2)) }.count >= 2)
    }

    @Test("one Sentinel with a higher epoch and a server that is a replica changes nothing")
    func unproven() {
        let script = SentinelScript.settled(3, on: 1)
        script.message(.switched, 2)
        script.answer(2, claim(2, 9))
        script.role(.other, 2)
        #expect(script.primary == claim(1, 1))
        #expect(script.isVerified)
        let answers: [UInt32: PrimaryClaim] = [1: claim(1, 1), 2: claim(2, 9), 3: claim(1, 1)]
        let actions = script.pass(.seconds(3), answers)
        #expect(actions.allSatisfy { $0 == .verify(.test(1, 2)) } && actions.count <= 7)
        // It has been promoted meanwhile.
        script.role(.primary, 2)
        #expect(script.primary == claim(2, 9))
    }

    @Test("a stale Sentinel is ignored, and what the old primary says of itself as well")
    func stale() {
        let script = SentinelScript.settled(3, on: 2, epoch: 5)
        script.role(.primary, 1)
        let answers: [UInt32: PrimaryClaim] = [1: claim(1, 4), 2: claim(2, 5), 3: claim(2, 5)]
        let actions = script.pass(.seconds(60), answers)
        #expect(actions == [])
        #expect(script.primary == claim(2, 5))
        #expect(script.isSettled)
    }

    @Test("the highest epoch is asked for first, lower ones wait")
    func order() {
        let script = SentinelScript.settled(3, on: 1)
        for raw in 1...3 as ClosedRange<UInt32> { script.message(.switched, raw) }
        script.answer(1, claim(2, 2))
        script.answer(2, claim(3, 3))
        #expect(
            script.actions() == [
                ask(1), ask(2), ask(3), .verify(.test(1, 2)), .verify(.test(1, 3)),
            ])
        script.role(.primary, 2)
        #expect(script.primary == claim(1, 1))
        script.role(nil, 3)
        #expect(script.primary == claim(2, 2))
    }

    @Test("equal epochs: the present primary stays while it is one, or a majority names it")
    func equal() {
        let script = SentinelScript.settled(2, on: 1)
        script.message(.switched, 2)
        script.answer(2, claim(2, 1))
        script.role(.primary, 2)
        #expect(script.primary == claim(1, 1))
        script.doubt(1)
        script.role(.other, 1)
        script.role(.primary, 2)
        #expect(script.primary == claim(2, 1))

        let named = SentinelScript.settled(3, on: 1)
        named.message(.switched, 2)
        named.answer(2, claim(2, 1))
        named.doubt(1)
        named.role(nil, 1)
        named.role(.primary, 2)
        #expect(named.primary == claim(1, 1))
    }

    @Test("a lower epoch takes a majority that says so for a second, or for five against one")
    func madeAnew() {
        let all = SentinelScript.settled(3, on: 1, epoch: 7)
        for raw in 1...3 as ClosedRange<UInt32> {
            all.message(.changed, raw)
        }
        let anew: [UInt32: PrimaryClaim] = [1: claim(1, 0), 2: claim(1, 0), 3: claim(1, 0)]
        all.pass(.milliseconds(1200), anew)
        #expect(all.primary == claim(1, 7))
        all.pass(.milliseconds(900), anew)
        #expect(all.primary == claim(1, 0))

        let most = SentinelScript.settled(3, on: 1, epoch: 7)
        let answers: [UInt32: PrimaryClaim] = [1: claim(2, 0), 2: claim(2, 0), 3: claim(1, 7)]
        for raw in 1...3 as ClosedRange<UInt32> {
            most.message(.changed, raw)
        }
        most.pass(.milliseconds(5300), answers)
        #expect(most.primary == claim(1, 7))
        let actions = most.pass(.seconds(1), answers)
        #expect(actions.contains(.leave(.test(1, 1))) && actions.contains(.adopt(claim(2, 0))))
        // The third is overruled: what it says alone is not believed any more.
        most.role(.primary, 2)
        most.role(.primary, 1)
        most.pass(.seconds(30), answers)
        #expect(most.primary == claim(2, 0))
        most.message(.switched, 3)
        _ = most.actions()
        most.answer(3, claim(2, 0))
        most.pass(.seconds(1), answers)
        most.message(.switched, 3)
        _ = most.actions()
        most.answer(3, claim(3, 1))
        most.role(.primary, 3)
        #expect(most.primary == claim(3, 1))
    }

    @Test("the old answers of a majority do not undo a failover")
    func oldAnswers() {
        let script = SentinelScript.settled(3, on: 1)
        let before: [UInt32: PrimaryClaim] = [1: claim(1, 1), 2: claim(1, 1), 3: claim(1, 1)]
        script.pass(.seconds(90), before)
        script.message(.switched, 2)
        _ = script.actions()
        script.answer(2, claim(2, 2))
        script.role(.primary, 2)
        #expect(script.primary == claim(2, 2))
        script.pass(.milliseconds(900), [1: claim(1, 1), 2: claim(2, 2), 3: claim(1, 1)])
        #expect(script.primary == claim(2, 2))
    }
}
