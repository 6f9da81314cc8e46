import Pool
import TestSupport
import Testing

import enum Session.Expectation

@testable import Proxy

/// One entry, to compare.
private struct Entry: Equatable {
    var client: SlotID
    var count: Int
    var bytes: Int
    var value: UInt32
    var expectation: Expectation
    var isSilent: Bool

    init(
        _ client: SlotID, _ expectation: Expectation, bytes: Int, value: UInt32, isSilent: Bool
    ) {
        self.client = client
        self.expectation = expectation
        self.bytes = bytes
        self.value = value
        self.isSilent = isSilent
        count = 1
    }

    init(_ entry: InFlight) {
        self.init(
            entry.client, entry.expectation, bytes: Int(entry.bytes), value: entry.value,
            isSilent: entry.isSilent)
        count = Int(entry.count)
    }
}

/// The queue as one would write it without a thought of its cost.
private struct Model {
    var entries: [Entry] = []
    private static let longestRun = 32 * 1024

    mutating func append(_ new: Entry) {
        if let last = entries.last, new.expectation == .plain, last.expectation == .plain,
            last.client == new.client, last.isSilent == new.isSilent, last.value == new.value,
            last.bytes + new.bytes <= Model.longestRun
        {
            entries[entries.count - 1].count += 1
            entries[entries.count - 1].bytes += new.bytes
        } else {
            entries.append(new)
        }
    }

    mutating func finish(_ count: Int) -> Int {
        entries[0].count -= count
        return entries[0].count == 0 ? entries.removeFirst().bytes : 0
    }
}

private func client(_ slot: UInt32, _ generation: UInt32 = 0) -> SlotID {
    SlotID(slot: slot, generation: generation)
}

private func entries(_ queue: borrowing InFlightQueue) -> [Entry] {
    var all: [Entry] = []
    queue.forEach { all.append(Entry($0)) }
    return all
}

@Suite("InFlightQueue")
struct InFlightQueueTests {
    @Test("plain commands of one client in a row are one entry, all others have their own")
    func runs() {
        var queue = InFlightQueue()
        #expect(queue.isEmpty == true)
        queue.append(client(1), .plain, bytes: 10)
        queue.append(client(1), .plain, bytes: 20)
        #expect((queue.entries, queue.first.count, queue.first.bytes) == (1, 2, 30))
        queue.append(client(2), .plain, bytes: 1)
        queue.append(client(2, 1), .plain, bytes: 1)
        queue.append(client(2, 1), .plain, bytes: 1, mark: .silent)
        queue.append(client(2, 1), .plain, bytes: 1)
        queue.append(client(2, 1), .write, bytes: 1)
        queue.append(client(2, 1), .write, bytes: 1)
        queue.append(client(2, 1), .plain, bytes: 1)
        #expect(queue.entries == 8)
        queue.append(client(2, 1), .plain, bytes: (32 << 10) - 1)
        #expect(queue.entries == 8)
        queue.append(client(2, 1), .plain, bytes: 1)
        #expect(queue.entries == 9)
        queue.append(client(3), .select, bytes: 5, value: 7)
        queue.extendLast(by: 3)
        #expect(entries(queue).last?.count == 4)
        #expect(entries(queue).last?.value == 7)
    }

    @Test("commands of different turns are different entries; the oldest of a client is known")
    func stamps() {
        var queue = InFlightQueue()
        #expect(queue.oldest(skippingFirst: false) == nil)
        queue.append(client(1), .plain, bytes: 1, stamp: 7)
        queue.append(client(1), .plain, bytes: 1, stamp: 7)
        queue.append(client(1), .plain, bytes: 1, stamp: 8)
        #expect((queue.entries, queue.first.count) == (2, 2))
        #expect(queue.oldest(skippingFirst: false)! == (7, true))
        #expect(queue.oldest(skippingFirst: true)! == (8, false))
        _ = queue.finish(2)
        #expect(queue.oldest(skippingFirst: false)! == (8, true))
        #expect(queue.oldest(skippingFirst: true) == nil)
        _ = queue.finish()
        queue.append(UpstreamConnection.nobody, .fence, bytes: 1, stamp: 9)
        #expect(queue.oldest(skippingFirst: false) == nil)
        queue.append(client(2), .multi, bytes: 1, stamp: 10)
        #expect(queue.oldest(skippingFirst: false)! == (10, false))
        #expect(MemoryLayout<InFlight>.stride == 28)
    }

    @Test("a stamp is a time in microseconds that wraps around after 71 minutes")
    func wrap() {
        let wrap = Int64(UInt32.max) * 1000 + 1000
        var clock = TurnClock(now: MonotonicTime(nanoseconds: wrap - 2_000_000))
        let stamp = clock.stamp
        #expect(clock.age(of: stamp) == 0)
        clock.begin(MonotonicTime(nanoseconds: wrap + 3_000_000))
        #expect(clock.age(of: stamp) == 5_000_000)
        #expect(clock.stamp == 3000)
        clock.now = MonotonicTime(nanoseconds: wrap + 4_000_000)
        #expect(clock.stamp == 3000)
        #expect(clock.age(of: clock.stamp) == 1_000_000)
        clock.begin(MonotonicTime(nanoseconds: 2 * wrap))
        #expect(clock.age(of: stamp) == 2_000_000)
    }

    @Test("bytes are given back with the last reply of an entry")
    func finish() {
        var queue = InFlightQueue()
        for _ in 0..<5 { queue.append(client(1), .plain, bytes: 7) }
        queue.append(client(2), .multi, bytes: 9)
        #expect(queue.finish() == 0)
        #expect(queue.finish(3) == 0)
        #expect(queue.first.count == 1)
        #expect(queue.finish() == 35)
        #expect(queue.first.expectation == .multi)
        queue.first.value = 3
        #expect(entries(queue).map(\.value) == [3])
        #expect(queue.finish() == 9)
        #expect(queue.isEmpty == true)
    }

    @Test("random operations, compared with an array", arguments: 1...12)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var queue = InFlightQueue()
        var model = Model()
        let expectations: [Expectation] = [.plain, .plain, .plain, .write, .multi, .fence]
        for step in 0..<6000 {
            // It grows for a while, then shrinks: it wraps around at every size.
            let isGrowing = step / 500 % 2 == 0
            if model.entries.isEmpty || random.chance(isGrowing ? 65 : 35) {
                let new = Entry(
                    client(UInt32(random.below(3)), UInt32(random.below(2))),
                    expectations[random.below(expectations.count)],
                    bytes: random.chance(5) ? random.below(40_000) : random.below(100),
                    value: UInt32(random.below(5)), isSilent: random.chance(10))
                queue.append(
                    new.client, new.expectation, bytes: new.bytes, value: new.value,
                    mark: new.isSilent ? .silent : .none)
                model.append(new)
                if random.chance(5) {
                    let more = random.below(4)
                    queue.extendLast(by: UInt32(more))
                    model.entries[model.entries.count - 1].count += more
                }
            } else {
                let count = 1 + random.below(model.entries[0].count)
                let bytes = queue.finish(UInt32(count))
                try #require(bytes == model.finish(count))
            }
            if random.below(3000) == 0 {
                queue.removeAll()
                model.entries = []
            }
            try #require(queue.entries == model.entries.count)
            #expect(queue.isEmpty == model.entries.isEmpty)
            if let first = model.entries.first { try #require(Entry(queue.first) == first) }
            if step % 50 == 0 { try #require(entries(queue) == model.entries) }
        }
        #expect(entries(queue) == model.entries)
    }

    @Test("the plain commands of a client get places, or none does")
    func places() {
        var queue = InFlightQueue()
        for _ in 0..<3 { queue.append(client(1), .plain, bytes: 7, value: 5) }
        queue.append(client(2), .plain, bytes: 7, value: 5)
        queue.append(client(1), .plain, bytes: 7, value: 6)
        let isOtherNumber = queue.place(client(1), 4, under: 5)
        let isMore = queue.place(client(1), 5, under: nil)
        let isLess = queue.place(client(1), 3, under: nil)
        #expect(!isOtherNumber && !isMore && !isLess)
        #expect(entries(queue).map(\.expectation) == [.plain, .plain, .plain])
        let isPlaced = queue.place(client(1), 4, under: nil)
        #expect(isPlaced)
        #expect(entries(queue).map(\.expectation) == [.placed, .plain, .placed])
        #expect(entries(queue).map(\.value) == [0, 5, 3])
        queue.append(client(2), .multi, bytes: 7)
        let isNotPlain = queue.place(client(2), 2, under: nil)
        #expect(!isNotPlain)
        var newest: [Entry] = []
        queue.forEachFromNewest { entry in
            newest.append(Entry(entry))
            return newest.count < 3
        }
        #expect(newest == entries(queue).suffix(3).reversed())
    }

    @Test("replies for later places of a client and turn join an entry that may grow")
    func runsOfPlaces() {
        var queue = InFlightQueue()
        let joined1 = queue.join(client(1), bytes: 7, stamp: 1)
        #expect(!joined1)
        queue.append(client(1), .placed, bytes: 7, value: 4, stamp: 1, command: .hello)
        let joined2 = queue.join(client(1), bytes: 7, stamp: 1)
        #expect(!joined2)
        queue.append(
            client(1), .placed, count: 2, bytes: 14, value: .max, mark: .mayGrow, stamp: 1,
            command: .hello)
        let joined3 = queue.join(client(1), bytes: 7, stamp: 1)
        #expect(joined3)
        let joined4 = queue.join(client(1), count: 3, bytes: 20, stamp: 1)
        #expect(joined4)
        let joined5 = queue.join(client(1), bytes: 7, stamp: 2)
        #expect(!joined5)
        let joined6 = queue.join(client(2), bytes: 7, stamp: 1)
        #expect(!joined6)
        let joined7 = queue.join(client(1), bytes: 32 << 10, stamp: 1)
        #expect(!joined7)
        #expect(queue.entries == 2)
        #expect(queue.finish() == 7)
        #expect((queue.first.value, queue.first.count, queue.first.bytes) == (.max, 6, 41))
        #expect(queue.finish(5) == 0)
        #expect(queue.finish() == 41)
    }

    @Test("thousands of entries come out in order, more than once")
    func large() {
        var queue = InFlightQueue()
        for round in 0..<3 {
            for number in 0..<3000 {
                queue.append(client(UInt32(number)), .plain, bytes: number + round)
            }
            #expect(queue.entries == 3000)
            for number in 0..<3000 {
                #expect(queue.first.client == client(UInt32(number)))
                #expect(queue.finish() == number + round)
            }
            #expect(queue.isEmpty == true)
        }
    }

    @Test("more bytes than an entry can count are the most that it can")
    func clamped() {
        var queue = InFlightQueue()
        queue.append(client(1), .plain, bytes: 1 << 40)
        queue.append(client(1), .plain, bytes: 1)
        #expect(queue.entries == 2)
        #expect(queue.finish() == Int(UInt32.max))
    }
}
