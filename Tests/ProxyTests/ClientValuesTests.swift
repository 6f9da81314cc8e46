import Pool
import RESP
import Session
import TestSupport
import Testing

@testable import Proxy

@Suite("CLIENT LIST: lines and lists")
struct ClientListTests {
    @Test(
        "the text of a reply",
        arguments: [
            ("$3\r\nid=\r\n", "id="), ("=7\r\ntxt:id=\r\n", "id="), ("$0\r\n\r\n", ""),
            ("$-1\r\n", nil), ("_\r\n", nil), ("-ERR no\r\n", nil), ("+OK\r\n", nil),
            ("*1\r\n$1\r\nx\r\n", nil), ("", nil),
        ])
    func text(reply: String, text: String?) {
        #expect(ClientLine.text(of: utf8(reply)) == text)
    }

    @Test("of a list that is cut off the first line is a reply")
    func firstLine() {
        #expect(
            ClientLine.firstLine(of: utf8("$1000000\r\nid=1 x\nid=2 y\nid=")) == bulk("id=1 x"))
        #expect(
            ClientLine.firstLine(of: utf8("=99\r\ntxt:id=1\nid=2")) == utf8("=8\r\ntxt:id=1\r\n"))
        #expect(ClientLine.firstLine(of: utf8("$5")) == utf8("$5"))
        #expect(ClientLine.firstLine(of: []) == [])
    }

    @Test("the fixed part of a line is counted without the values")
    func template() {
        #expect(LineTemplate().length == 0)
        let line = "id=5 addr=1.2.3.4:5 new=x laddr=1.1.1.1:1 fd=8"
        // Unknown fields stay as they are, with their values.
        #expect(LineTemplate(line[...]).length == "id= addr= new=x laddr= fd=\n".utf8.count)
        let held = "id=5 flags=N db=3 name=x"
        #expect(LineTemplate(held[...]).length == "id= flags= db= name=\n".utf8.count)
        #expect(
            LineTemplate(held[...], isHeld: true).length == "id= flags=N db=3 name=\n".utf8.count)
    }

    private func list(_ serials: [UInt64]) -> ListedClients {
        var listed = ListedClients()
        for serial in serials {
            listed.text += utf8("id=\(serial)\n")
            listed.marks.append((serial, listed.text.count))
        }
        return listed
    }

    @Test("random: the lists of several workers are one in order", arguments: 1...10)
    func merged(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var parts = [[UInt64]](repeating: [], count: 1 + random.below(5))
        let count = UInt64(random.below(40))
        for serial in 0..<count { parts[random.below(parts.count)].append(serial) }
        let whole = list(Array(0..<count)).text
        let lists = parts.map(list)
        #expect(ListedClients.merged(lists, most: whole.count) == whole)
        #expect(ListedClients.merged(lists, most: whole.count - 1) == nil)
        var cut = lists
        cut[random.below(cut.count)].isCut = true
        #expect(ListedClients.merged(cut, most: .max) == nil)
    }

    @Test("nobody's list is empty")
    func empty() {
        #expect(ListedClients.merged([], most: 0) == [])
        #expect(ListedClients.merged([ListedClients(), ListedClients()], most: 0) == [])
    }

    private func words(_ text: String) -> [[UInt8]] {
        text.split(separator: " ").map { utf8(String($0)) }
    }

    @Test("an order takes as much as a client has made long in it")
    func size() {
        func size(_ kind: ClientOrder.Kind) -> Int { ClientOrder(kind: kind, giver: 1).size }
        let plain = size(.list(ListFilter(words("CLIENT LIST"))))
        #expect(size(.list(ListFilter(words("CLIENT LIST ID 1 2 3")))) == plain + 48)
        let one = size(.kill(KillFilter(words("CLIENT KILL USER a"))))
        #expect(size(.kill(KillFilter(words("CLIENT KILL USER abcde")))) == one + 4)
        #expect(size(.kill(KillFilter(words("CLIENT KILL LADDR abc ADDR abcd")))) == one + 6)
        #expect(size(.kill(KillFilter(words("CLIENT KILL ID 7")))) == one + 15)
        #expect(
            size(.list(ListFilter(words("CLIENT LIST USER abc ID 4")))) == plain + one + 2 + 16)
    }
}

@Suite("ExecWalk: which elements of EXEC's array are looked at")
struct ExecWalkTests {
    private func member(_ index: Int) -> QueuedMember {
        QueuedMember(index, .select, UInt32(index), [], behind: nil)
    }

    private func scan(_ walk: inout ExecWalk, _ reply: String) {
        let bytes = utf8(reply)
        if case .complete(let end) = walk.scanner.scan(bytes.span, from: 0) {
            #expect(end == bytes.count)
        } else {
            Issue.record("not a reply: \(reply)")
        }
    }

    @Test("members are found at their places, and pushes between them do not count")
    func members() {
        var walk = ExecWalk([member(0), member(2)], passesLines: false)
        #expect(!walk.isOrphan)
        #expect(!walk.isLookedAt)
        walk.left = 3
        #expect(walk.isLookedAt)
        walk.fate = .held
        scan(&walk, ">2\r\n+message\r\n:1\r\n")
        #expect(walk.isBetween)
        #expect(walk.passed() == nil)
        #expect(walk.fate == .passing)
        scan(&walk, "+OK\r\n")
        #expect(walk.passed()?.index == 0)
        #expect(!walk.isLookedAt)
        scan(&walk, "+1700000000.1 line\r\n")
        // Nobody monitors here: it is an element.
        #expect(walk.passed() == nil)
        #expect(walk.isLookedAt)
        scan(&walk, ":1\r\n")
        #expect(walk.passed()?.index == 2)
        #expect(walk.left == 0)
        #expect(walk.members.isEmpty)
        #expect(!walk.isLookedAt)
    }

    @Test("lines of MONITOR are no elements")
    func lines() {
        var walk = ExecWalk([member(1)], passesLines: true)
        walk.left = 2
        scan(&walk, "+1700000000.1 [0 1.2.3.4:5] \"GET\" \"a\"\r\n")
        #expect(walk.isBetween)
        #expect(walk.passed() == nil)
        #expect(walk.left == 2)
        scan(&walk, "+OK\r\n")
        #expect(walk.passed() == nil)
        #expect((walk.left, walk.index) == (1, 1))
        #expect(walk.isLookedAt)
    }

    @Test("what is kept of members adds up, and only of those whose words matter")
    func sizes() {
        let words = [utf8("client"), utf8("setname"), utf8("web")]
        let first = QueuedMember(0, .select, 3, words, behind: nil)
        #expect(first.words.isEmpty)
        let second = QueuedMember(1, .mirrorName, 0, words, behind: first)
        #expect(second.words == words)
        #expect(second.total >= 2 * first.total + 16)
        #expect(
            QueuedMember(2, .select, 0, words, behind: second).total == second.total + first.total)
    }

    @Test("without a client nobody knows what the members were")
    func orphan() {
        let walk = ExecWalk(nil, passesLines: false)
        #expect(walk.isOrphan)
        #expect(walk.members.isEmpty)
    }
}

@Suite("SoleUse: who has a connection alone")
struct SoleUseTests {
    private let ok = ReplyFacts(
        type: UInt8(ascii: "+"), error: nil, isOK: true, isQueued: false)

    @Test("each kind has its clients, its state and its question, or none")
    func kinds() {
        func facts(_ kind: SoleUse.Kind) -> (Int, Bool, Bool, Bool) {
            let use = SoleUse(kind, since: at(0))
            return (use.clients, use.isHeld, use.state != nil, use.question != nil)
        }
        #expect(facts(.exclusive) == (1, false, false, false))
        #expect(facts(.cleaning(HeldState())) == (0, false, true, false))
        #expect(facts(.asking(.asked)) == (0, false, false, true))
        #expect(facts(.abandoned) == (0, false, false, false))
        #expect(SoleUse(.exclusive, isBlocking: true, since: at(0)).isBlocking)
        #expect(SoleUse(.exclusive, since: at(0)).client == nil)
    }

    @Test("the state can be changed where there is one, and nowhere else")
    func state() {
        let cleaning = SoleUse(.cleaning(HeldState()), since: at(0))
        cleaning.state?.replied(to: .multi, ok)
        #expect(cleaning.state?.isInTransaction == true)
        let exclusive = SoleUse(.exclusive, since: at(0))
        exclusive.state?.replied(to: .multi, ok)
        exclusive.state = HeldState()
        #expect(exclusive.state == nil)
        cleaning.beginCleaning()
        #expect(cleaning.state?.isInTransaction == true)
    }

    @Test("the question can be changed where there is one, and nowhere else")
    func question() {
        let asking = SoleUse(.asking(.asked), since: at(0))
        asking.question = .answered
        #expect(asking.question == .answered)
        asking.question = nil
        #expect(asking.question == .answered)
        let abandoned = SoleUse(.abandoned, since: at(0))
        abandoned.question = .asked
        #expect(abandoned.question == nil)
    }
}
