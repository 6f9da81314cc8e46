import Testing

@testable import Pool

private let second: Int64 = 1_000_000_000

private func at(_ nanoseconds: Int64) -> MonotonicTime { MonotonicTime(nanoseconds: nanoseconds) }

/// A number that one thread uses.
private final class PlainCell: PermitCell, @unchecked Sendable {
    private var value: Int
    /// Runs between a load and what follows it, once.
    var meanwhile: (() -> Void)?

    init(_ value: Int) { self.value = value }

    func load() -> Int { value }
    func store(_ value: Int) { self.value = value }

    func compareExchange(expected: Int, desired: Int) -> Int {
        let other = meanwhile
        meanwhile = nil
        other?()
        let found = value
        if found == expected { value = desired }
        return found
    }
}

private func makeGate(maxPinned: Int) -> OneOffGate<PlainCell> {
    OneOffGate(maxPinned: maxPinned) { PlainCell($0) }
}

@Suite("The gate of one-off upstreams")
struct OneOffGateTests {
    @Test("no second has more than ten beginnings, wherever it begins")
    func rate() {
        var random = SeededRandom(seed: 7)
        let gate = makeGate(maxPinned: 1_000)
        var begun: [Int64] = []
        var now: Int64 = 0
        for _ in 0..<20_000 {
            now += Int64(random.next() % 120_000_000)
            let room = gate.room(now: at(now))
            if random.next() % 4 != 0 {
                #expect(gate.begin(now: at(now)) == (room > 0))
                guard room > 0 else { continue }
                gate.end()
                begun.append(now)
            }
        }
        #expect(begun.count > 1_000)
        for index in begun.indices.dropFirst(OneOffLimits.perSecond) {
            #expect(begun[index] - begun[index - OneOffLimits.perSecond] >= second)
        }
    }

    @Test("a gate that is not used lets ten through at once")
    func burst() {
        let gate = makeGate(maxPinned: 1_000)
        for left in (0..<10).reversed() {
            #expect(gate.begin(now: at(5)))
            #expect(gate.room(now: at(5)) == left)
        }
        #expect(!gate.begin(now: at(4 + second)))
        #expect(gate.inUse == 10, "what did not begin is not in use")
        #expect(gate.room(now: at(5 + second)) == 10)
    }

    @Test(
        "half of maxPinned are in use at once, and one at least",
        arguments: [
            (28, 10), (8, 4), (3, 1), (1, 1), (0, 1),
        ])
    func number(maxPinned: Int, most: Int) {
        let gate = makeGate(maxPinned: maxPinned)
        var begun = 0
        while gate.begin(now: at(0)) { begun += 1 }
        #expect(begun == most)
        #expect(gate.inUse == most)
        gate.end()
        #expect(gate.room(now: at(second)) > 0)
        #expect(!gate.isFull)
    }

    @Test("two workers that begin at the same moment have one place between them")
    func race() {
        var cells: [PlainCell] = []
        let gate = OneOffGate<PlainCell>(maxPinned: 2) {
            cells.append(PlainCell($0))
            return cells[cells.count - 1]
        }
        var other = false
        cells[0].meanwhile = { other = gate.begin(now: at(0)) }
        #expect(!gate.begin(now: at(0)))
        #expect(other)
        #expect(gate.inUse == 1)
    }

    @Test("an end too many does not make room")
    func ends() {
        let gate = makeGate(maxPinned: 2)
        gate.end()
        #expect(gate.inUse == 0)
        #expect(gate.begin(now: at(0)))
        #expect(gate.isFull)
    }
}
