import Glibc
import TestSupport
import Testing

@testable import Proxy

@Suite("OutputBuffer")
struct OutputBufferTests {
    @Test("random: what comes out is what went in, and memory is counted", arguments: 1...10)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let pool = ChunkPool()
        defer { pool.destroy() }
        let drain = try Drain()
        var buffer = OutputBuffer()
        var all: [UInt8] = []
        var largest = 0
        for _ in 0..<400 {
            switch random.below(4) {
            case 0, 1:
                // Now and then more than one write can offer.
                let most = random.chance(5) ? 40_000 : random.chance(30) ? 3000 : 40
                let bytes = random.bytes(random.below(most))
                buffer.append(bytes, pool: pool)
                all += bytes
            case 2:
                let before = buffer.count
                let result = buffer.flush(to: drain.channel, pool: pool)
                #expect(word(result) == (buffer.isEmpty ? "empty" : "full"))
                #expect(buffer.count <= before)
            default: drain.read(random.below(20_000))
            }
            largest = max(largest, buffer.count)
            try #require(pool.outputBytes == pool.bytesInUse)
            try #require(buffer.isEmpty == (pool.bytesInUse == 0))
            try #require(pool.bytesInUse >= buffer.count)
        }
        #expect(largest > 32_768)
        while !buffer.isEmpty {
            _ = buffer.flush(to: drain.channel, pool: pool)
            drain.read()
        }
        drain.read()
        #expect(isSame(drain.received, all))
        #expect((pool.bytesInUse, pool.outputBytes) == (0, 0))
    }

    @Test("more pieces than one call takes are sent in several")
    func manyPieces() throws {
        let pool = ChunkPool()
        defer { pool.destroy() }
        let drain = try Drain(room: 1 << 20)
        var buffer = OutputBuffer()
        // The chain begins with small chunks; 100 large ones follow.
        var all: [UInt8] = []
        var random = SeededRandom(seed: 1)
        for size in [400, 3000] + [Int](repeating: 30_000, count: 100) {
            let bytes = random.bytes(size)
            buffer.append(bytes, pool: pool)
            all += bytes
        }
        while !buffer.isEmpty {
            _ = buffer.flush(to: drain.channel, pool: pool)
            drain.read()
        }
        drain.read()
        #expect(isSame(drain.received, all))
    }

    @Test("text is copied as it is; what is dropped is gone")
    func text() throws {
        let pool = ChunkPool()
        defer { pool.destroy() }
        let drain = try Drain()
        var buffer = OutputBuffer()
        #expect(word(buffer.flush(to: drain.channel, pool: pool)) == "empty")
        buffer.append("+lost\r\n", pool: pool)
        buffer.append([UInt8](repeating: 1, count: 10_000), pool: pool)
        #expect(buffer.count == 10_007)
        buffer.drop(pool: pool)
        #expect((buffer.count, pool.bytesInUse, pool.outputBytes) == (0, 0, 0))
        buffer.append("+OK\r\n", pool: pool)
        buffer.append([], pool: pool)
        #expect(word(buffer.flush(to: drain.channel, pool: pool)) == "empty")
        drain.read()
        #expect(drain.received == utf8("+OK\r\n"))
    }

    @Test("a broken connection is an error, and nothing is forgotten")
    func broken() throws {
        let pool = ChunkPool()
        defer { pool.destroy() }
        let drain = try Drain()
        var buffer = OutputBuffer()
        buffer.append("+OK\r\n", pool: pool)
        drain.hangUp()
        #expect(word(buffer.flush(to: drain.channel, pool: pool)) == "failed \(EPIPE)")
        #expect(buffer.count == 5)
        buffer.drop(pool: pool)
        #expect(pool.bytesInUse == 0)
    }
}
