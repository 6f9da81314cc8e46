// Commands about the connection itself, as Redis has them, and HELP and INFO.

import Config
import EventLoop
import Glibc
import Proxy
import RESP

enum ConnectionCommands {
    static let all: [ConsoleCommand] = [
        ConsoleCommand(
            "INFO", "[section]", "numbers as Redis's INFO has them", arguments: 0...64
        ) {
            Info.answer($0)
        },
        ConsoleCommand("HELP", "the same as SHOW HELP") { help($0) },
        ConsoleCommand("PING", "[text]", "an answer", arguments: 0...1) { call in
            guard let text = call.arguments.first else { return call.reply(.simple("PONG")) }
            var bytes: [UInt8] = []
            Encode.bulk(text, into: &bytes)
            call.reply(.bytes(bytes))
        },
        ConsoleCommand("QUIT", "closes the connection") { call in
            call.connection.closeAfterReply()
            call.reply(.ok)
        },
        ConsoleCommand(
            "HELLO", "[2|3] [SETNAME name]", "the version of the protocol", arguments: 0...8
        ) { hello($0) },
        ConsoleCommand("AUTH", "[user] password", "no password is needed", arguments: 1...2) {
            $0.fail(noPassword)
        },
        ConsoleCommand("CLIENT ID", "the number of this connection") {
            $0.reply(.integer($0.connection.id))
        },
        ConsoleCommand("CLIENT GETNAME", "the name of this connection") { call in
            var bytes: [UInt8] = []
            if call.connection.name.isEmpty {
                Encode.null(call.connection.version, into: &bytes)
            } else {
                Encode.bulk(call.connection.name, into: &bytes)
            }
            call.reply(.bytes(bytes))
        },
        ConsoleCommand("CLIENT SETNAME", "name", "names this connection", arguments: 1...1) {
            call in
            guard isName(call.arguments[0]) else { return call.fail(badName) }
            call.connection.name = call.arguments[0]
            call.reply(.ok)
        },
        ConsoleCommand(
            "CLIENT SETINFO", "attribute value", "is accepted and ignored", arguments: 2...2
        ) { $0.reply(.ok) },
        // redis-cli asks both at its start.
        ConsoleCommand("COMMAND", "[...]", "an empty array", arguments: 0...64) {
            $0.reply(.bytes(Array("*0\r\n".utf8)))
        },
    ]

    private static let noPassword =
        "AUTH <password> called without any password configured for the default user. "
        + "Are you sure your configuration is correct?"
    private static let badName =
        "Client names cannot contain spaces, newlines or special characters."

    private static func isName(_ name: [UInt8]) -> Bool {
        name.count <= 64 && name.allSatisfy { (0x21...0x7E).contains($0) }
    }

    static func help(_ call: Call) {
        let commands = CommandRegistry.all
        call.reply(
            .table(
                Table(["command", "effect"], count: commands.count) {
                    [.text(commands[$0].form), .text(commands[$0].summary)]
                }))
    }

    private static func hello(_ call: Call) {
        var version = call.connection.version
        var name: [UInt8]?
        var next = 0
        if let given = call.arguments.first {
            switch Word.integer(given, in: Word.anyNumber) {
            case 2: version = .resp2
            case 3: version = .resp3
            case nil:
                return call.fail("Protocol version is not an integer or out of range")
            default: return call.reply(.error("NOPROTO unsupported protocol version"))
            }
            next = 1
        }
        while next < call.arguments.count {
            switch call.word(next) {
            case "auth": return call.fail(noPassword)
            case "setname" where next + 1 < call.arguments.count:
                name = call.arguments[next + 1]
                guard isName(call.arguments[next + 1]) else { return call.fail(badName) }
                next += 2
            default:
                let option = PlainText.of(call.arguments[next], longest: 24)
                return call.fail("Syntax error in HELLO option '\(option)'")
            }
        }
        call.connection.version = version
        if let name { call.connection.name = name }
        call.reply(.bytes(greeting(call)))
    }

    private static func greeting(_ call: Call) -> [UInt8] {
        var bytes: [UInt8] = []
        let version = call.connection.version
        Encode.mapHeader(7, version, into: &bytes)
        func text(_ key: String, _ value: String) {
            Encode.bulk(key, into: &bytes)
            Encode.bulk(value, into: &bytes)
        }
        func number(_ key: String, _ value: Int64) {
            Encode.bulk(key, into: &bytes)
            Encode.integer(value, into: &bytes)
        }
        text("server", "redpool")
        text("version", call.host.version)
        number("proto", Int64(version.rawValue))
        number("id", call.connection.id)
        text("mode", "standalone")
        text("role", "master")
        Encode.bulk("modules", into: &bytes)
        Encode.arrayHeader(0, into: &bytes)
        return bytes
    }
}
