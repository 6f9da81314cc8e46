import RESP
import Testing

@testable import Session

private let here = Array("127.0.0.1:5000".utf8)

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func line(_ words: String, _ address: String = "127.0.0.1:5000") -> [UInt8] {
    bytes("+1700000000.123456 [0 \(address)] \(words)\r\n")
}

/// `#expect` takes no mutating call of a value.
private final class Own {
    private var commands = OwnCommands()

    var isEmpty: Bool { commands.isEmpty }
    func sent(_ text: [UInt8], from address: [UInt8]) { commands.sent(text, from: address) }
    func refused(_ text: [UInt8], from address: [UInt8]) { commands.refused(text, from: address) }
    func forget(_ address: [UInt8]) { commands.forget(address) }
    func hides(_ line: [UInt8]) -> Bool { commands.take(line) }
}

@Suite struct OwnCommandsTests {
    @Test func aLineIsHiddenAsOftenAsItsCommandWasSent() {
        let own = Own()
        own.sent(bytes("\"PING\""), from: here)
        own.sent(bytes("\"PING\""), from: here)
        #expect(own.hides(line("\"PING\"")))
        #expect(!own.hides(line("\"PING\"", "127.0.0.1:5001")))
        #expect(!own.hides(line("\"ping\"")))
        #expect(own.hides(line("\"PING\"")))
        #expect(!own.hides(line("\"PING\"")))
        #expect(own.isEmpty)
    }

    @Test func whatWasSentBeforeIsNotShownAnyMore() {
        let own = Own()
        for text in ["\"PING\"", "\"CONFIG\" \"GET\" \"timeout\"", "\"INFO\" \"server\""] {
            own.sent(bytes(text), from: here)
        }
        #expect(own.hides(line("\"INFO\" \"server\"")))
        #expect(own.isEmpty)
        #expect(!own.hides(line("\"PING\"")))
    }

    @Test func whatTheServerRefusesIsNotWaitedFor() {
        let own = Own()
        own.sent(bytes("\"PING\""), from: here)
        own.refused(bytes("\"ECHO\""), from: here)
        own.refused(bytes("\"PING\""), from: bytes("x"))
        #expect(!own.isEmpty)
        own.refused(bytes("\"PING\""), from: here)
        #expect(own.isEmpty)
        own.sent(bytes("\"PING\""), from: here)
        own.forget(here)
        own.forget(here)
        #expect(own.isEmpty)
        #expect(!own.hides(line("\"PING\"")))
    }

    @Test func unixSocketsHaveOneAddressAndNoOrder() {
        let own = Own()
        own.sent(bytes("\"PING\""), from: OwnCommands.unix)
        own.sent(bytes("\"UNWATCH\""), from: OwnCommands.unix)
        #expect(own.hides(line("\"UNWATCH\"", "unix:/run/redis.sock")))
        #expect(own.hides(line("\"PING\"", "unix:/run/redis.sock")))
        #expect(own.isEmpty)
    }

    @Test func aFenceShowsTheAddressThatTheServerSees() {
        let own = Own()
        own.sent(bytes("\"ECHO\" \"0123456789abcdef\""), from: here)
        own.sent(bytes("\"PING\""), from: here)
        let other = "10.0.0.7:41"
        #expect(!own.hides(line("\"PING\"", other)))
        #expect(own.hides(line("\"ECHO\" \"0123456789abcdef\"", other)))
        #expect(own.hides(line("\"PING\"", other)))
        #expect(own.isEmpty)
    }

    @Test(arguments: [
        "+OK\r\n", "+\r\n", "+1.2 [0 a]\r\n", "+1.2 [0 a] \r\n", "+1.2 [\r\n", "+1 [0\r\n", "\r\n",
        "+1.2 [0 lua] \"PING\"\r\n", "+1.2 [0 127.0.0.1:5000] \r\n",
    ])
    func whatIsNoSuchLineIsShown(_ text: String) {
        let own = Own()
        own.sent(bytes("\"PING\""), from: here)
        #expect(!own.hides(bytes(text)))
        #expect(!own.isEmpty)
    }

    @Test func anAddressOfIPv6HasBracketsOfItsOwn() {
        let own = Own()
        own.sent(bytes("\"PING\""), from: bytes("[::1]:5000"))
        #expect(own.hides(line("\"PING\"", "[::1]:5000")))
    }

    @Test func wordsAreQuotedAndPasswordsRedacted() {
        func text(_ words: String...) -> String {
            String(decoding: OwnCommands.text(of: words.map { bytes($0) }), as: UTF8.self)
        }
        #expect(text("CLIENT", "SETNAME", "") == "\"CLIENT\" \"SETNAME\" \"\"")
        #expect(text("a\"b\\c", "\r\n\t\u{7}\u{8}") == "\"a\\\"b\\\\c\" \"\\r\\n\\t\\a\\b\"")
        #expect(
            OwnCommands.text(of: [[0, 255, 0x7E, 0x7F, 0x20]])
                == bytes("\"\\x00\\xff~\\x7f \""))
        #expect(text("AUTH", "pw") == "\"AUTH\" \"(redacted)\"")
        #expect(text("AUTH", "u", "pw") == "\"AUTH\" \"(redacted)\" \"(redacted)\"")
        #expect(
            text("HELLO", "3", "AUTH", "u", "pw", "SETNAME", "n")
                == "\"HELLO\" \"3\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"n\"")
    }

    @Test func theNumberKeptIsBounded() {
        let own = Own()
        own.sent([UInt8](repeating: 0x20, count: OwnCommands.longest + 1), from: here)
        #expect(own.isEmpty)
        for number in 0..<10_000 { own.sent(bytes("\(number)"), from: here) }
        #expect(!own.hides(line("\"PING\"")))
        own.sent(bytes("\"PING\""), from: here)
        #expect(own.hides(line("\"PING\"")))
    }
}
