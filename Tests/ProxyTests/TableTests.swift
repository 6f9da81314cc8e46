import TestSupport
import Testing

@testable import Proxy

private final class Inhabitant {
    let id: SlotID
    init(_ id: SlotID) { self.id = id }
}

@Suite("SlotTable and SlotID")
struct SlotTableTests {
    @Test(
        "an id is one number, both ways",
        arguments: [(0, 0), (1, 0), (0, 1), (.max, .max), (7, .max)] as [(UInt32, UInt32)])
    func raw(slot: UInt32, generation: UInt32) {
        let id = SlotID(slot: slot, generation: generation)
        #expect(SlotID(raw: id.raw) == id)
        #expect(id.raw == UInt64(generation) << 32 + UInt64(slot))
    }

    @Test(
        "random: an id finds its inhabitant until that has left, and never another",
        arguments: 1...8)
    func random(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var table = SlotTable<Inhabitant>()
        var present: [Inhabitant] = []
        var gone: [SlotID] = []
        for _ in 0..<1500 {
            if random.chance(55) || present.isEmpty {
                let made = table.insert { Inhabitant($0) }
                #expect(table[made.id] === made)
                #expect(!gone.contains(made.id))
                present.append(made)
            } else {
                let left = present.remove(at: random.below(present.count))
                table.remove(left.id)
                table.remove(left.id)
                gone.append(left.id)
            }
            #expect(table.count == present.count)
            if let one = present.randomElement(&random) {
                #expect(table[one.id] === one)
                #expect(table.unretained(short: one.id.short)?.takeUnretainedValue() === one)
            }
            if let id = gone.randomElement(&random) {
                #expect(table[id] == nil)
                #expect(table.unretained(short: id.short) == nil)
                table.remove(id)
            }
        }
        #expect(Set(table.all.map(\.id.raw)) == Set(present.map(\.id.raw)))
        var walked = 0
        table.forEach { _ in walked += 1 }
        #expect(walked == present.count)
        // Slots are used again: there are no more than were needed at once.
        #expect(present.allSatisfy { $0.id.slot < 1500 })
        #expect(gone.contains { id in present.contains { $0.id.slot == id.slot } })
    }

    @Test("an inhabitant is found by a generation that it was given")
    func givenGeneration() {
        var table = SlotTable<Inhabitant>()
        let first = table.insert(generation: 70) { Inhabitant($0) }
        let second = table.insert(generation: 71) { Inhabitant($0) }
        #expect(first.id == SlotID(slot: 0, generation: 70))
        #expect(table.first(generation: 71) { _ in true } === second)
        #expect(table.first(generation: 71) { _ in false } == nil)
        #expect(table.first(generation: 72) { _ in true } == nil)
        table.remove(first.id)
        #expect(table.first(generation: 70) { _ in true } == nil)
        // The slot's next generation is there, but nobody in it.
        #expect(table.first(generation: 71) { $0 !== second } == nil)
        let third = table.insert(generation: 90) { Inhabitant($0) }
        #expect(third.id.slot == first.id.slot)
        #expect(table[first.id] == nil)
        #expect(table[third.id] === third)
    }

    @Test("generations wrap around, and ids beyond the table find nobody")
    func wraps() {
        var table = SlotTable<Inhabitant>()
        #expect(table[SlotID(slot: 0, generation: 0)] == nil)
        table.remove(SlotID(slot: 9, generation: 0))
        let last = table.insert(generation: .max) { Inhabitant($0) }
        table.remove(last.id)
        let next = table.insert { Inhabitant($0) }
        #expect(next.id == SlotID(slot: 0, generation: 0))
        #expect(table[last.id] == nil)
        #expect(table[SlotID(slot: 1, generation: 0)] == nil)
    }

    @Test("who has left is not kept alive")
    func ownership() {
        var table = SlotTable<Inhabitant>()
        weak let left = table.insert { Inhabitant($0) }
        #expect(left != nil)
        if let id = left?.id { table.remove(id) }
        #expect(left == nil)
    }
}

@Suite("WorkList")
struct WorkListTests {
    private final class Work {
        let number: Int
        init(_ number: Int) { self.number = number }
    }

    @Test("keeps the order, also of what is added while it is walked, at every size")
    func order() {
        var list = WorkList<Work>()
        let works = (0..<300).map(Work.init)
        #expect(list.isEmpty == true)
        for round in 1...3 {
            let count = round * 100
            list.append(works[0])
            var numbers: [Int] = []
            var next = 0
            while next < list.count {
                list[next]._withUnsafeGuaranteedRef { numbers.append($0.number) }
                if list.count < count { list.append(works[list.count]) }
                next += 1
            }
            #expect(numbers == Array(0..<count))
            list.removeAll()
            #expect((list.count, list.isEmpty) == (0, true))
        }
    }

    @Test("what has departed lives until it is let go")
    func departed() {
        var departed = Departed()
        var list = WorkList<Work>()
        weak var work: Work?
        do {
            let gone = Work(7)
            work = gone
            list.append(gone)
            departed.add(gone)
        }
        var number = 0
        list[0]._withUnsafeGuaranteedRef { number = $0.number }
        #expect(number == 7)
        list.removeAll()
        #expect(work != nil && !departed.isEmpty)
        departed.letGo(all: false)
        #expect(work != nil && !departed.isEmpty)
        departed.letGo(all: false)
        #expect(work == nil && departed.isEmpty)
    }

    @Test("what has departed goes at once when no list can refer to it")
    func departedAtOnce() {
        var departed = Departed()
        weak var work: Work?
        do {
            let gone = Work(7)
            work = gone
            departed.add(gone)
        }
        departed.letGo(all: true)
        #expect(work == nil && departed.isEmpty)
    }

    @Test("a client that closes in a callback lives until the end of the iteration, not longer")
    func closedClient() throws {
        let world = try World("maxOpen: 2")
        let client = try world.connect()
        #expect(try world.ask(client, "PING") == "+PONG\r\n")
        weak let connection = world.worker.clients.all.first
        #expect(connection != nil)
        #expect(try world.ask(client, "QUIT") == "+OK\r\n")
        try world.run(until: "the client is closed") { client.isClosed }
        #expect(connection == nil)
    }
}

extension Array {
    fileprivate func randomElement(_ random: inout SeededRandom) -> Element? {
        isEmpty ? nil : self[random.below(count)]
    }
}
