import TestSupport
import Testing
import Topology

@Suite("Addresses that a name stands for")
struct AddressSetTests {
    private let one = NodeAddress.test(1, 1)
    private let two = NodeAddress.test(1, 2)
    private let three = NodeAddress.test(1, 3)

    @Test("an address is given up when two answers in a row are without it")
    func twoAnswers() {
        var set = AddressSet()
        #expect(set.take([one, two, two]).added == [one, two])
        #expect(set.take([two]) == AddressSet.Change())
        #expect(set.contains(one))
        #expect(set.current == [two])
        #expect(set.take([two]) == AddressSet.Change(givenUp: [one]))
        #expect(!set.contains(one))
    }

    @Test("an answer in between that has it saves it")
    func between() {
        var set = AddressSet()
        _ = set.take([one, two])
        for _ in 0..<10 {
            #expect(set.take([two]).givenUp == [])
            #expect(set.take([one]).givenUp == [])
        }
        #expect(set.contains(one) && set.contains(two))
    }

    @Test("an empty answer says nothing and is not counted")
    func empty() {
        var set = AddressSet()
        _ = set.take([one])
        for _ in 0..<3 { #expect(set.take([]) == AddressSet.Change()) }
        _ = set.take([two])
        #expect(set.take([]) == AddressSet.Change())
        #expect(set.contains(one))
        #expect(set.take([two]).givenUp == [one])
    }

    @Test("after a doubt one answer decides, and it alone")
    func doubt() {
        var set = AddressSet()
        _ = set.take([one, two])
        set.doubt()
        #expect(set.take([]) == AddressSet.Change())
        #expect(set.take([two, three]) == AddressSet.Change(added: [three], givenUp: [one]))
        #expect(set.take([three]).givenUp == [])
    }

    @Test("whatever the answers are, the set has what one of the last two had", arguments: 0..<20)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var set = AddressSet()
        var last: Set<NodeAddress> = []
        var previous: Set<NodeAddress> = []
        var known: Set<NodeAddress> = []
        for _ in 0..<2000 {
            let isDoubted = random.chance(5)
            if isDoubted { set.doubt() }
            let answer = (0..<random.below(5)).map { _ in NodeAddress.test(1, random.below(6)) }
            let change = set.take(answer)
            if answer.isEmpty {
                #expect(change == AddressSet.Change())
                if isDoubted { _ = set.take(Array(last)) }
                if isDoubted { (previous, known) = ([], last) }
                continue
            }
            (previous, last) = (isDoubted ? [] : last, Set(answer))
            known.subtract(change.givenUp)
            known.formUnion(change.added)
            #expect(known == last.union(previous).intersection(known.union(last)))
            #expect(Set(set.current) == last)
            #expect(
                (0..<6).allSatisfy { set.contains(.test(1, $0)) == known.contains(.test(1, $0)) })
        }
    }

    @Test("a host is text that can be seen, a port is not 0")
    func addresses() {
        #expect(NodeAddress(host: [], port: 1) == nil)
        #expect(NodeAddress(host: Array("a b".utf8), port: 1) == nil)
        #expect(NodeAddress(host: Array("a\r\n".utf8), port: 1) == nil)
        #expect(NodeAddress(host: [0xC3, 0xA4], port: 1) == nil)
        #expect(NodeAddress(host: [UInt8](repeating: 0x61, count: 256), port: 1) == nil)
        #expect(NodeAddress(host: Array("a".utf8), port: 0) == nil)
        #expect(NodeAddress(host: Array("::1".utf8), port: 6379)?.description == "[::1]:6379")
        #expect(one.description == "10.0.1.1:6101")
    }
}
