import Glibc
import TestSupport
import Testing

@testable import Proxy

/// A `CommandBuffer`, and beside it what it should be: all bytes that were ever appended, and
/// positions in them.
private struct Twin: ~Copyable {
    var buffer = CommandBuffer()
    let pool = ChunkPool()
    let drain: Drain
    var all: [UInt8] = []
    var sent = 0
    /// Everything before is given back.
    var released = 0
    /// So much of that is not answered.
    var forgotten = 0

    init() throws { drain = try Drain() }

    deinit { pool.destroy() }

    mutating func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes {
            if let base = $0.baseAddress { buffer.append(base, count: $0.count, pool: pool) }
        }
        all += bytes
    }

    mutating func flush() -> FlushResult {
        let before = sent
        let result = buffer.flush(to: drain.channel, pool: pool)
        sent = Int(buffer.sentTotal)
        if buffer.forgetsSent, sent > before { released = sent }
        return result
    }

    mutating func answered(_ count: Int) {
        buffer.answered(count, pool: pool)
        let gone = min(count, forgotten)
        forgotten -= gone
        released += count - gone
    }

    mutating func boundKept() {
        buffer.boundKept(pool: pool)
        let kept = sent - released
        guard kept > 4 << 20 else { return }
        forgotten += kept
        released = sent
    }

    /// What has been sent and is neither answered nor given up by `forgetsSent`.
    var unanswered: Int { sent - released + forgotten }

    func check() {
        #expect(buffer.appendedTotal == Int64(all.count))
        #expect(buffer.sentTotal == Int64(sent))
        #expect(buffer.releasedTotal == Int64(released))
        #expect(buffer.forgotten == Int64(forgotten))
        #expect(buffer.answeredTotal == Int64(released - forgotten))
        #expect(buffer.unsent == all.count - sent)
        #expect(buffer.isAllSent == (all.count == sent))
        // The last chunk goes when everything in it has been answered.
        if released == all.count { #expect(pool.bytesInUse == 0) }
        #expect(pool.bytesInUse >= all.count - released)
        #expect(pool.outputBytes == 0)
    }

    func checkCopy(_ random: inout SeededRandom) {
        let kept = all.count - released
        let offset = random.below(kept + 1)
        let count = random.below(kept - offset + 1)
        let start = released + offset
        #expect(
            isSame(
                buffer.copy(offset: offset, count: count), Array(all[start..<(start + count)])))
    }
}

@Suite("CommandBuffer")
struct CommandBufferTests {
    @Test("random operations, compared with one long array", arguments: 1...12)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var twin = try Twin()
        twin.buffer.forgetsSent = seed % 4 == 0
        for _ in 0..<600 {
            switch random.below(10) {
            case 0...3:
                let most = random.chance(5) ? 60_000 : random.chance(30) ? 5000 : 60
                twin.append(random.bytes(random.below(most)))
            case 4...6:
                let result = twin.flush()
                #expect(word(result) == (twin.all.count == twin.sent ? "empty" : "full"))
            case 7: twin.drain.read(random.below(30_000))
            case 8: twin.answered(random.below(twin.unanswered + 1))
            default:
                twin.boundKept()
                // A pipe begins and ends now and then.
                if seed % 4 == 1, random.chance(20) { twin.buffer.forgetsSent.toggle() }
            }
            twin.check()
            twin.checkCopy(&random)
        }
        while !twin.buffer.isAllSent {
            _ = twin.flush()
            twin.drain.read()
        }
        twin.drain.read()
        #expect(isSame(twin.drain.received, twin.all))
        twin.answered(twin.unanswered)
        twin.check()
        #expect(twin.pool.bytesInUse == 0)
    }

    @Test("bytes of handshakes and streams are not kept once they are sent")
    func forgetsSent() throws {
        var twin = try Twin()
        #expect(twin.buffer.forgetsSent == true)
        twin.append(utf8("PING\r\n"))
        #expect(word(twin.flush()) == "empty")
        #expect(twin.buffer.releasedTotal == 6)
        #expect(twin.pool.bytesInUse == 0)
        twin.buffer.forgetsSent = false
        twin.append(utf8("GET a\r\n"))
        #expect(word(twin.flush()) == "empty")
        #expect(twin.buffer.releasedTotal == 6)
        #expect(twin.buffer.copy(offset: 4, count: 3) == utf8("a\r\n"))
        #expect(twin.buffer.copy(offset: 0, count: 100) == utf8("GET a\r\n"))
        #expect(twin.buffer.copy(offset: 7, count: 1) == [])
        twin.answered(7)
        twin.check()
    }

    @Test("a reply gives up nothing that is not sent")
    func answeredBesideUnsent() throws {
        var twin = try Twin()
        twin.append(utf8("PING\r\n"))
        #expect(word(twin.flush()) == "empty")
        twin.append(utf8("GET a\r\n"))
        twin.buffer.answered(6, pool: twin.pool)
        #expect(twin.buffer.unsent == 7)
        #expect(word(twin.flush()) == "empty")
        twin.drain.read()
        #expect(twin.drain.received == utf8("PING\r\nGET a\r\n"))
        twin.check()
    }

    @Test("a server that does not answer costs no memory beyond the limit, and is still counted")
    func boundKept() throws {
        var random = SeededRandom(seed: 3)
        var twin = try Twin()
        twin.buffer.forgetsSent = false
        func send(_ count: Int) {
            twin.append([UInt8](repeating: 1, count: count))
            while !twin.buffer.isAllSent {
                _ = twin.flush()
                twin.drain.read()
            }
        }
        send(Int(CommandBuffer.keptLimit))
        twin.boundKept()
        #expect(twin.buffer.forgotten == 0)
        send(1)
        twin.boundKept()
        #expect(twin.buffer.forgotten == CommandBuffer.keptLimit + 1)
        #expect(twin.buffer.answeredTotal == 0)
        #expect(twin.pool.bytesInUse == 0)
        // What comes later is kept again, and answers go to the oldest first.
        send(1000)
        #expect(twin.buffer.copy(offset: 0, count: 1000).count == 1000)
        while twin.unanswered > 500 {
            twin.answered(min(twin.unanswered - 500, random.below(1 << 20)))
            twin.check()
        }
        #expect(twin.buffer.forgotten == 0)
        #expect(twin.buffer.answeredTotal == twin.buffer.sentTotal - 500)
        twin.answered(500)
        twin.check()
    }

    @Test("what is not sent yet is not given up with what is")
    func boundKeptWithUnsent() throws {
        var twin = try Twin()
        twin.buffer.forgetsSent = false
        twin.append([UInt8](repeating: 1, count: 5 << 20))
        while twin.sent <= Int(CommandBuffer.keptLimit) {
            _ = twin.flush()
            twin.drain.read()
        }
        let unsent = twin.buffer.unsent
        #expect(unsent > 0)
        twin.boundKept()
        twin.check()
        #expect(twin.buffer.unsent == unsent)
        while !twin.buffer.isAllSent {
            _ = twin.flush()
            twin.drain.read()
        }
        #expect(twin.drain.received.count == 5 << 20)
    }

    @Test("what went past the buffer counts as sent and answered")
    func passed() throws {
        var twin = try Twin()
        twin.buffer.forgetsSent = false
        twin.buffer.passed(1000)
        #expect(twin.buffer.isAllSent == true)
        #expect(twin.buffer.answeredTotal == 1000)
        let bytes = utf8("GET a\r\n")
        bytes.withUnsafeBytes {
            twin.buffer.append($0.baseAddress!, count: $0.count, pool: twin.pool)
        }
        #expect((twin.buffer.appendedTotal, twin.buffer.sentTotal) == (1007, 1000))
        #expect(word(twin.flush()) == "empty")
        #expect(twin.buffer.copy(offset: 0, count: 7) == bytes)
        twin.buffer.answered(7, pool: twin.pool)
        #expect(twin.buffer.answeredTotal == 1007)
        #expect(twin.pool.bytesInUse == 0)
    }

    @Test("a broken connection is an error, and what was not sent is still there")
    func broken() throws {
        var twin = try Twin()
        twin.buffer.forgetsSent = false
        twin.append(utf8("GET a\r\n"))
        #expect(word(twin.flush()) == "empty")
        twin.append(utf8("GET b\r\n"))
        twin.drain.hangUp()
        #expect(word(twin.flush()) == "failed \(EPIPE)")
        twin.check()
        #expect(twin.buffer.copy(offset: 0, count: 14) == utf8("GET a\r\nGET b\r\n"))
        twin.buffer.drop(pool: twin.pool)
        #expect(twin.buffer.isAllSent == true)
        // What was not sent never will be.
        #expect(twin.buffer.answeredTotal == 7 && twin.buffer.sentTotal == 7)
        #expect(twin.pool.bytesInUse == 0)
        #expect(twin.buffer.copy(offset: 0, count: 1) == [])
    }
}
