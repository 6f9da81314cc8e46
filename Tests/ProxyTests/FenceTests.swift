import Pool
import TestSupport
import Testing

@testable import Proxy

@Suite("Fence: a command whose reply nobody can make up")
struct FenceTests {
    private func reply(_ fence: Fence) -> [UInt8] {
        bulk(text(fence.bytes.dropLast(2).suffix(16)))
    }

    private func matches(_ fence: inout Fence, _ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { fence.matches($0) }
    }

    @Test("both forms are one command with 16 digits", arguments: [FenceForm.echo, .ping])
    func command(form: FenceForm) {
        let fence = Fence(form)
        #expect(fence.bytes.count == Fence.length)
        let digits = fence.bytes.dropLast(2).suffix(16)
        #expect(UInt64(text(digits), radix: 16) == fence.digits)
        #expect(fence.bytes == array([form == .ping ? "PING" : "ECHO", text(digits)]))
        #expect(reply(fence).count == Fence.replyLength)
    }

    @Test("no two are alike, but for one that is repeated")
    func random() {
        let fences = (0..<100).map { _ in Fence(.echo) }
        #expect(Set(fences.map(\.digits)).count == 100)
        var begun = fences[0]
        #expect(matches(&begun, Array(reply(begun).prefix(9))))
        var again = Fence(repeating: begun)
        #expect(again.digits == begun.digits)
        #expect(matches(&again, reply(begun)))
    }

    @Test("its reply is right in one piece and in any pieces", arguments: 1...5)
    func pieces(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            var fence = Fence(.ping)
            var left = reply(fence)[...]
            while !left.isEmpty {
                let piece = left.prefix(random.below(6))
                #expect(matches(&fence, Array(piece)))
                left = left.dropFirst(piece.count)
            }
        }
    }

    @Test("any other byte in any place is wrong")
    func wrong() {
        let fence = Fence(.echo)
        let right = reply(fence)
        for place in right.indices {
            var bytes = right
            bytes[place] ^= 1
            var copy = fence
            #expect(!matches(&copy, bytes))
            copy = fence
            #expect(matches(&copy, Array(right[..<place])))
            #expect(!matches(&copy, [bytes[place]]))
        }
    }
}

@Suite("FenceForms: in which form users may send a fence")
struct FenceFormsTests {
    @Test("ECHO is tried first, then PING, then nothing")
    func refused() {
        var forms = FenceForms()
        #expect(forms[1] == .echo)
        #expect(!forms.isKnown(to: 1))
        forms.refused(.echo, to: 1, now: at(1))
        #expect(forms[1] == .ping)
        #expect(forms.isKnown(to: 1))
        // Another in flight was refused as well.
        forms.refused(.echo, to: 1, now: at(2))
        #expect(forms[1] == .ping)
        forms.refused(.ping, to: 1, now: at(3))
        #expect(forms[1] == .none)
        forms.refused(.none, to: 1, now: at(4))
        #expect(forms[1] == .none)
        #expect(forms[2] == .echo)
    }

    @Test("a right that was given is found again with time")
    func forget() {
        var forms = FenceForms()
        forms.found(.echo, for: 1, now: at(1))
        forms.refused(.echo, to: 2, now: at(1))
        // It is known as long as it was, if nothing new is found.
        forms.found(.ping, for: 2, now: at(9))
        for user in 1...2 as ClosedRange<UInt32> {
            forms.forget(user, olderThan: 5_000_000_000, now: at(5.9))
            #expect(forms.isKnown(to: user))
            forms.forget(user, olderThan: 5_000_000_000, now: at(6))
        }
        #expect(forms.isKnown(to: 1))
        #expect(!forms.isKnown(to: 2))
        #expect(forms[2] == .echo)
    }

    @Test("only users who are there are kept")
    func keep() {
        var forms = FenceForms()
        for user in 1...3 as ClosedRange<UInt32> { forms.refused(.echo, to: user, now: at(0)) }
        forms.keep([2])
        #expect([1, 2, 3].map { forms[$0] } == [.echo, .ping, .echo])
    }
}
