import TestSupport
import Testing

@testable import Proxy

@Suite("ChunkPool")
struct ChunkPoolTests {
    private static let header = MemoryLayout<Chunk>.stride

    @Test(
        "small answers stay in small chunks, streams get large ones",
        arguments: [
            (0, 0, 512), (1, 0, 512), (512 - header, 0, 512), (512 - header, 1, 4096),
            (513 - header, 0, 4096), (1, 511 - header, 512), (1, 512 - header, 4096),
            (4096 - header, 0, 4096), (4097 - header, 0, 32768), (1, 1 << 30, 32768),
            (1 << 30, 0, 32768),
        ])
    func sizes(wanted: Int, queued: Int, size: Int) {
        let pool = ChunkPool()
        defer { pool.destroy() }
        let chunk = pool.take(for: wanted, queued: queued)
        #expect(chunk.size == size)
        #expect(chunk.pointee.capacity == size - ChunkPoolTests.header)
        #expect((chunk.pointee.head, chunk.pointee.tail) == (0, 0))
        #expect(chunk.pointee.next == nil)
        #expect(pool.bytesInUse == size)
        pool.give(chunk)
        #expect(pool.bytesInUse == 0)
    }

    @Test("a chunk that is given back is clean when it is taken again")
    func recycled() {
        let pool = ChunkPool()
        defer { pool.destroy() }
        let first = pool.take(for: 10, queued: 0)
        let second = pool.take(for: 10, queued: 0)
        first.pointee.head = 5
        first.pointee.tail = 9
        pool.give(second)
        pool.give(first)
        let again = pool.take(for: 10, queued: 0)
        #expect(again == first)
        #expect((again.pointee.head, again.pointee.tail) == (0, 0))
        #expect(again.pointee.next == nil)
        #expect(pool.take(for: 10, queued: 0) == second)
        pool.give(first)
        pool.give(second)
    }

    @Test("random: what is in use is the sum of all chunks that are out", arguments: 1...5)
    func accounting(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let pool = ChunkPool()
        defer { pool.destroy() }
        var out: [ChunkPointer] = []
        var output = 0
        for _ in 0..<1000 {
            if random.chance(55) {
                let chunk = pool.take(for: random.below(6000), queued: random.below(3000))
                // All of it can be written to, and it is nobody else's.
                chunk.bytes.initializeMemory(
                    as: UInt8.self, repeating: UInt8(out.count & 255),
                    count: chunk.pointee.capacity)
                chunk.pointee.tail = chunk.pointee.capacity
                out.append(chunk)
            } else if !out.isEmpty {
                pool.give(out.remove(at: random.below(out.count)))
            }
            let counted = random.below(200) - 100
            pool.countOutput(counted)
            output += counted
            #expect(pool.bytesInUse == out.reduce(0) { $0 + $1.size })
            #expect(pool.outputBytes == output)
        }
        #expect(Set(out).count == out.count)
        for chunk in out { pool.give(chunk) }
        #expect(pool.bytesInUse == 0)
    }

    @Test("a burst that is over is given back, and the pool goes on")
    func burst() {
        let pool = ChunkPool()
        defer { pool.destroy() }
        for _ in 0..<2 {
            let chunks = (0..<400).map { _ in pool.take(for: 40_000, queued: 0) }
            #expect(pool.bytesInUse == 400 * 32768)
            pool.trimAfterBurst()
            for chunk in chunks { pool.give(chunk) }
            pool.countFreed(1)
            pool.trimAfterBurst()
            #expect(pool.bytesInUse == 0)
        }
    }
}

@Suite("InputBuffer")
struct InputBufferTests {
    private let pool = ChunkPool()

    private func contents(_ buffer: borrowing InputBuffer) -> [UInt8] {
        guard let bytes = buffer.bytes else { return [] }
        return Array(UnsafeRawBufferPointer(start: bytes, count: buffer.count))
    }

    @Test("holds no memory while empty")
    func empty() {
        var buffer = InputBuffer()
        #expect((buffer.isEmpty, buffer.count, buffer.capacity) == (true, 0, 0))
        #expect(buffer.bytes == nil)
        buffer.consume(0, pool: pool)
        buffer.prepend([], pool: pool)
        [UInt8(1)].withUnsafeBytes { buffer.append($0.baseAddress!, count: 0, pool: pool) }
        #expect(buffer.capacity == 0)
        buffer.prepend([1, 2], pool: pool)
        #expect(contents(buffer) == [1, 2])
        #expect(buffer.capacity == 1024)
        buffer.consume(2, pool: pool)
        #expect((buffer.isEmpty, buffer.capacity) == (true, 0))
        buffer.drop(pool: pool)
    }

    @Test("prepared room counts only once it is filled")
    func prepare() {
        var buffer = InputBuffer()
        let room = buffer.prepare(3000, pool: pool)
        #expect(room.count >= 3000)
        #expect(buffer.isEmpty == true)
        #expect(buffer.bytes == nil)
        room.copyBytes(from: [7, 8, 9])
        buffer.added(3)
        #expect(contents(buffer) == [7, 8, 9])
        buffer.consume(5, pool: pool)
        #expect(buffer.isEmpty == true)
    }

    @Test("random operations, compared with an array", arguments: 1...10)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var buffer = InputBuffer()
        var model: [UInt8] = []
        for _ in 0..<600 {
            let bytes = random.bytes(random.below(random.chance(10) ? 5000 : 300))
            switch random.below(10) {
            case 0...3:
                bytes.withUnsafeBytes {
                    if let base = $0.baseAddress {
                        buffer.append(base, count: $0.count, pool: pool)
                    }
                }
                model += bytes
            case 4, 5:
                let room = buffer.prepare(bytes.count + 1, pool: pool)
                #expect(room.count > bytes.count)
                room.copyBytes(from: bytes)
                buffer.added(bytes.count)
                model += bytes
            case 6:
                buffer.prepend(bytes, pool: pool)
                model = bytes + model
            case 7, 8:
                let count = random.below(model.count + 2)
                buffer.consume(count, pool: pool)
                model.removeFirst(min(count, model.count))
            default:
                if random.chance(10) {
                    buffer.drop(pool: pool)
                    model = []
                }
            }
            try #require(isSame(contents(buffer), model))
            #expect(buffer.count == model.count)
            #expect(buffer.isEmpty == model.isEmpty)
            #expect(buffer.capacity >= model.count)
        }
        buffer.drop(pool: pool)
        #expect(buffer.capacity == 0)
    }
}
