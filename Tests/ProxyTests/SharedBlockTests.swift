import EventLoop
import Glibc
import TestSupport
import Testing

@testable import Proxy

@Suite("SharedBlock")
struct SharedBlockTests {
    private static let room = 32_768 - MemoryLayout<Chunk>.stride

    private func contents(_ part: BlockPart) -> [UInt8] {
        Array(UnsafeRawBufferPointer(start: part.block.bytes + part.start, count: part.count))
    }

    private func add(
        _ frame: [UInt8], _ form: MessageForm, to blocks: inout SharedBlocks, _ pool: ChunkPool
    ) -> BlockPart {
        frame.withUnsafeBytes { blocks.append($0, as: form, pool: pool) }
    }

    @Test("a frame is copied, and begins as its client's protocol has it")
    func forms() {
        let pool = ChunkPool()
        defer { pool.destroy() }
        var blocks = SharedBlocks()
        let frame = utf8(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n>x\r\n")
        let push = add(frame, .push, to: &blocks, pool)
        let array = add(frame, .array, to: &blocks, pool)
        #expect(contents(push) == frame)
        #expect(contents(array) == [UInt8(ascii: "*")] + frame.dropFirst())
        #expect(push.block != array.block)
        let next = add(frame, .push, to: &blocks, pool)
        #expect((next.block, next.start) == (push.block, push.end))
        #expect((pool.bytesInUse, pool.outputBytes) == (65_536, 65_536))
        for part in [push, array, next] { part.block.release(pool: pool) }
        blocks.trim(pool: pool)
        #expect((pool.bytesInUse, pool.outputBytes) == (0, 0))
    }

    @Test("a block is full, and the next one is opened; a long frame has its own")
    func rooms() {
        let pool = ChunkPool()
        defer { pool.destroy() }
        var blocks = SharedBlocks()
        let whole = add(
            [UInt8](repeating: 1, count: SharedBlockTests.room), .push, to: &blocks, pool)
        #expect(whole.count == SharedBlockTests.room)
        let long = add([UInt8](repeating: 2, count: whole.count + 1), .push, to: &blocks, pool)
        #expect(long.block != whole.block)
        #expect(pool.bytesInUse == 65_537)
        let short = add([3], .push, to: &blocks, pool)
        #expect(short.block != whole.block && short.block != long.block)
        #expect(pool.outputBytes == 3 * 32_768 + 1)
        // The first and the second are nobody else's.
        whole.block.release(pool: pool)
        long.block.release(pool: pool)
        #expect(pool.outputBytes == 32_768)
        blocks.trim(pool: pool)
        #expect(pool.outputBytes == 32_768)
        blocks.drop(pool: pool)
        #expect(pool.outputBytes == 32_768)
        #expect(contents(short) == [UInt8(ascii: ">")])
        short.block.release(pool: pool)
        #expect((pool.bytesInUse, pool.outputBytes) == (0, 0))
    }

    @Test("an open block that nobody refers to is filled from its beginning again")
    func rewound() {
        let pool = ChunkPool()
        defer { pool.destroy() }
        var blocks = SharedBlocks()
        let first = add([1, 2, 3], .array, to: &blocks, pool)
        let second = add([1, 2, 3], .array, to: &blocks, pool)
        #expect(second.start == 3)
        first.block.release(pool: pool)
        #expect(add([4], .array, to: &blocks, pool).start == 6)
        second.block.release(pool: pool)
        second.block.release(pool: pool)
        let again = add([5], .array, to: &blocks, pool)
        #expect((again.block, again.start, again.end) == (first.block, 0, 1))
        again.block.release(pool: pool)
        blocks.drop(pool: pool)
        #expect(pool.bytesInUse == 0)
    }
}

/// One output and its socket, beside what must come out.
private final class Output {
    var buffer = OutputBuffer()
    let drain: Drain
    var model: [UInt8] = []
    private var sent = 0

    init(room: Int32) throws { drain = try Drain(room: room) }

    func flush(_ pool: ChunkPool) {
        let before = buffer.count
        let result = buffer.flush(to: drain.channel, pool: pool)
        sent += before - buffer.count
        #expect(word(result) == (buffer.isEmpty ? "empty" : "full"))
    }

    func drop(_ pool: ChunkPool) {
        model.removeLast(buffer.count)
        buffer.drop(pool: pool)
    }

    var isCounted: Bool { buffer.count == model.count - sent }

    func finish(_ pool: ChunkPool) {
        while !buffer.isEmpty {
            flush(pool)
            drain.read()
        }
        drain.read()
        #expect(isSame(drain.received, model))
    }
}

/// Several outputs that share blocks.
private final class Shared {
    let pool = ChunkPool()
    var blocks = SharedBlocks()
    private(set) var outputs: [Output] = []

    init(room: Int32) throws {
        for _ in 0..<3 { outputs.append(try Output(room: room)) }
    }

    deinit { pool.destroy() }

    /// Gives one frame to some of them.
    func share(_ frame: [UInt8], _ form: MessageForm, to takers: [Int]) {
        let first = form == .push ? UInt8(ascii: ">") : UInt8(ascii: "*")
        let part = frame.withUnsafeBytes { blocks.append($0, as: form, pool: pool) }
        for taker in takers {
            outputs[taker].buffer.append(part, pool: pool)
            outputs[taker].model += [first] + frame.dropFirst()
        }
        part.block.release(pool: pool)
    }

    func add(_ bytes: [UInt8], to index: Int) {
        outputs[index].buffer.append(bytes, pool: pool)
        outputs[index].model += bytes
    }

    func finish() {
        for output in outputs { output.finish(pool) }
        blocks.trim(pool: pool)
        #expect((pool.bytesInUse, pool.outputBytes) == (0, 0))
    }
}

@Suite("OutputBuffer with references")
struct SharedOutputTests {
    @Test("random: what comes out is what went in, and no block is left", arguments: 1...20)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed &* 0x9E37_79B9_7F4A_7C15)
        let world = try Shared(room: random.chance(50) ? 4096 : 200_000)
        for _ in 0..<600 {
            let index = random.below(3)
            switch random.below(10) {
            case 0...3:
                let most = random.chance(5) ? 70_000 : random.chance(20) ? 9000 : 200
                world.share(
                    random.bytes(1 + random.below(most)), random.chance(50) ? .push : .array,
                    to: (0..<3).filter { _ in random.chance(60) })
            case 4: world.add(random.bytes(random.below(random.chance(10) ? 9000 : 60)), to: index)
            case 5, 6: world.outputs[index].flush(world.pool)
            case 7, 8: world.outputs[index].drain.read(random.below(30_000))
            default:
                if random.chance(5) { world.outputs[index].drop(world.pool) }
                if random.chance(10) { world.blocks.trim(pool: world.pool) }
            }
            try #require(world.outputs.allSatisfy { $0.isCounted })
            try #require(world.pool.outputBytes == world.pool.bytesInUse)
        }
        world.finish()
    }

    @Test("parts that follow each other are one node, up to bytes in between")
    func lengthened() throws {
        let world = try Shared(room: 200_000)
        let pool = world.pool
        let node = MemoryLayout<BlockReference>.stride
        #expect(node == 48)
        for _ in 0..<10 { world.share(utf8(">1\r\n+a\r\n"), .push, to: [0, 1]) }
        #expect(pool.bytesInUse == 32_768 + 2 * node)
        // The same place in another block is no part that follows.
        for _ in 0..<10 { world.share(utf8(">1\r\n+a\r\n"), .array, to: [2]) }
        world.share(utf8(">1\r\n+b\r\n"), .array, to: [0])
        #expect(pool.bytesInUse == 2 * 32_768 + 4 * node)
        world.outputs[2].drop(pool)
        world.outputs[0].finish(pool)
        world.share(utf8(">1\r\n+b\r\n"), .push, to: [0])
        world.blocks.trim(pool: pool)
        #expect(pool.bytesInUse == 32_768 + 2 * node)
        // Bytes behind many messages take a small chunk.
        for _ in 0..<100 { world.share(utf8(">1\r\n+a\r\n"), .push, to: [0]) }
        world.add(utf8("+OK\r\n"), to: 0)
        world.share(utf8(">1\r\n+a\r\n"), .push, to: [0])
        #expect(pool.bytesInUse == 32_768 + 3 * node + 512)
        // What another client alone gets makes a gap.
        world.share(utf8(">1\r\n+b\r\n"), .push, to: [2])
        world.share(utf8(">1\r\n+c\r\n"), .push, to: [0, 2])
        #expect(pool.bytesInUse == 32_768 + 5 * node + 512)
        world.finish()
    }

    @Test("more parts than one call takes are sent in several")
    func manyParts() throws {
        let world = try Shared(room: 1 << 20)
        for number in 0..<200 {
            world.share(utf8(">1\r\n:\(number)\r\n"), .push, to: [0, 1])
            world.share(utf8(">1\r\n:\(number)\r\n"), .push, to: [1])
            if number % 3 == 0 { world.add(utf8("+OK\r\n"), to: 0) }
        }
        world.finish()
    }

    @Test("what one buffer hands to another keeps its order")
    func moved() throws {
        let pool = ChunkPool()
        defer { pool.destroy() }
        var blocks = SharedBlocks()
        var one = OutputBuffer()
        var other = OutputBuffer()
        let drain = try Drain()
        let part = utf8(">1\r\n").withUnsafeBytes { blocks.append($0, as: .push, pool: pool) }
        one.append(all: &other)
        #expect(one.isEmpty == true)
        other.append(part, pool: pool)
        one.append(all: &other)
        #expect((one.count, other.count) == (4, 0))
        other.append("+a\r\n", pool: pool)
        other.append(part, pool: pool)
        one.append(all: &other)
        one.append("+b\r\n", pool: pool)
        other.append(part, pool: pool)
        other.drop(pool: pool)
        #expect(word(one.flush(to: drain.channel, pool: pool)) == "empty")
        drain.read()
        #expect(text(drain.received) == ">1\r\n+a\r\n>1\r\n+b\r\n")
        part.block.release(pool: pool)
        blocks.drop(pool: pool)
        #expect(pool.bytesInUse == 0)
    }

    @Test("bytes that wait for long keep little more than themselves")
    func waitsLong() throws {
        let world = try Shared(room: 4096)
        let (quick, stalled) = (world.outputs[0], world.outputs[1])
        let pool = world.pool
        func add(_ frame: [UInt8]) {
            let part = frame.withUnsafeBytes { world.blocks.append($0, as: .push, pool: pool) }
            stalled.buffer.append(part, waitsLong: true, pool: pool)
            stalled.model += frame
            part.block.release(pool: pool)
        }
        // Others read what comes between the short messages, so that blocks begin anew.
        for number in 0..<2000 {
            add(utf8(">1\r\n:\(number)\r\n"))
            for _ in 0..<10 { world.share(utf8(">1\r\n$4\r\nmore\r\n"), .push, to: [0]) }
            quick.finish(pool)
        }
        world.blocks.trim(pool: pool)
        #expect(pool.outputBytes < stalled.buffer.count + 2 * 32_768)
        let before = pool.outputBytes
        // A long one is not copied, and neither is what follows it.
        let long = utf8(">1\r\n$5000\r\n") + [UInt8](repeating: 120, count: 5000) + utf8("\r\n")
        add(long)
        for _ in 0..<100 { add(utf8(">0\r\n")) }
        #expect(pool.outputBytes == before + 32_768 + MemoryLayout<BlockReference>.stride)
        world.finish()
    }

    @Test("nobody who reads waits for one who does not, and that one keeps the blocks")
    func stalled() throws {
        let world = try Shared(room: 4096)
        var random = SeededRandom(seed: 77)
        let (quick, stalled) = (world.outputs[0], world.outputs[1])
        for _ in 0..<200 {
            world.share(random.bytes(1000), .push, to: [0, 1])
            quick.finish(world.pool)
            stalled.flush(world.pool)
        }
        #expect(stalled.buffer.count > 100_000)
        #expect(world.pool.outputBytes > stalled.buffer.count)
        stalled.drop(world.pool)
        world.finish()
    }
}
