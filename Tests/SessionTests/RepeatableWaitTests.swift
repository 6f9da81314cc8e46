import RESP
import Session
import Testing

/// Which commands that block can be sent again, and with what.
struct RepeatableWaitTests {
    private static let table = CommandTable()

    /// The command of a line of words.
    private func wait(_ line: String) throws -> RepeatableWait? {
        let words = line.split(separator: " ").map { Array($0.utf8) }
        let (bytes, frame) = try framed(words)
        return RepeatableWait(RepeatableWaitTests.table.find(bytes.span, frame), words)
    }

    private func sent(_ line: String) -> [UInt8] {
        var bytes: [UInt8] = []
        Encode.command(line.split(separator: " ").map { Array($0.utf8) }, into: &bytes)
        return bytes
    }

    @Test(arguments: [
        ("BLPOP a b 5", 5_000, "BLPOP a b 1.234"),
        ("brpop a 0.5", 500, "brpop a 1.234"),
        ("BLMOVE a b LEFT RIGHT 7.", 7_000, "BLMOVE a b LEFT RIGHT 1.234"),
        ("BRPOPLPUSH 1 2 3", 3_000, "BRPOPLPUSH 1 2 1.234"),
        ("BZPOPMIN a 7", 7_000, "BZPOPMIN a 1.234"),
        ("BZPOPMAX a 0.30000000000000004", 300, "BZPOPMAX a 1.234"),
        ("BLMPOP 9 1 a LEFT COUNT 3", 9_000, "BLMPOP 1.234 1 a LEFT COUNT 3"),
        ("BZMPOP 0.001 1 a MIN", 1, "BZMPOP 1.234 1 a MIN"),
        ("XREAD BLOCK 5 STREAMS s 0", 5, "XREAD BLOCK 1234 STREAMS s 0"),
        (
            "XREAD COUNT 1 block 5 STREAMS block s 0-1 7", 5,
            "XREAD COUNT 1 block 1234 STREAMS block s 0-1 7"
        ),
        (
            "XREADGROUP GROUP BLOCK 8 COUNT 2 BLOCK 60000 NOACK STREAMS s >", 60_000,
            "XREADGROUP GROUP BLOCK 8 COUNT 2 BLOCK 1234 NOACK STREAMS s >"
        ),
        (
            "XREADGROUP BLOCK 1 BLOCK 2 CLAIM 9 GROUP g c STREAMS s >", 2,
            "XREADGROUP BLOCK 1 BLOCK 1234 CLAIM 9 GROUP g c STREAMS s >"
        ),
    ])
    func theRestTakesThePlaceOfTheTimeout(line: String, milliseconds: Int64, again: String) throws {
        let found = try wait(line)
        #expect(found?.timeout == milliseconds * 1_000_000, "\(line)")
        #expect(found?.bytes(left: 1_233_000_001) == sent(again), "\(line)")
    }

    @Test(arguments: [
        "BLPOP a 0", "BLMOVE a b LEFT RIGHT 0.00", "BLMPOP 0 1 a LEFT", "BZPOPMIN a 0.",
        "XREAD BLOCK 0 STREAMS s 0", "XREADGROUP GROUP g c BLOCK 0 STREAMS s >",
    ])
    func oneWithoutAnEndStaysAsItIs(line: String) throws {
        let found = try wait(line)
        #expect(found != nil && found?.timeout == nil)
        #expect(found?.bytes(left: 1) == sent(line))
        #expect(found?.bytes(left: .max) == sent(line))
    }

    @Test func atLeastAMillisecondIsLeft() throws {
        for left in [Int64.min, -1, 0, 1, 999_999, 1_000_000] {
            #expect(try wait("BLPOP a 5")?.bytes(left: left) == sent("BLPOP a 0.001"))
            #expect(
                try wait("XREAD BLOCK 5 STREAMS s 0")?.bytes(left: left)
                    == sent("XREAD BLOCK 1 STREAMS s 0"))
        }
        #expect(try wait("BLPOP a 5")?.bytes(left: .max) == sent("BLPOP a 9223372036.855"))
    }

    @Test(arguments: [
        // They miss what comes in between, or answer otherwise.
        "XREAD BLOCK 0 STREAMS s $", "XREAD BLOCK 0 STREAMS s t 0 +", "WAIT 1 0", "WAITAOF 1 0 0",
        // They do not block, or are nothing that Redis blocks on.
        "GET a", "XREAD STREAMS s 0", "XREAD BLOCK 0", "XREAD BLOCK 0 STREAMS",
        "XREAD BLOCK 0 STREAMS s t 0", "XREAD BLOCK 0 OTHER STREAMS s 0", "XREAD BLOCK", "BLPOP",
        "BLMPOP", "NONE a 0",
        // Timeouts that are not understood. Redis 6.2 takes the first one for 0.
        "BLPOP a 0.0009", "BLPOP a -1", "BLPOP a +1", "BLPOP a 1e3", "BLPOP a inf", "BLPOP a .5",
        "BLPOP a 0x10", "BLPOP a 007", "BLPOP a 0.0000000001", "BLPOP a 1.0000000000x",
        "BLPOP a 1.2.3", "BLPOP a 1234567890", "BLPOP a 1.x",
        "XREAD BLOCK 1.5 STREAMS s 0", "XREAD BLOCK -1 STREAMS s 0",
        "XREAD BLOCK 9223372036854775807 STREAMS s 0",
    ])
    func othersAreNotRepeated(line: String) throws {
        #expect(try wait(line) == nil)
    }
}
