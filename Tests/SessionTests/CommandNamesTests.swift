import RESP
import Testing

@testable import Session

/// Finds the command of `words` as the proxy would.
private func find(_ words: [String], in table: CommandTable) -> Command {
    find(words.map { Array($0.utf8) }, in: table)
}

private func find(_ words: [[UInt8]], in table: CommandTable) -> Command {
    guard let (bytes, frame) = try? framed(words) else { return .unknown }
    return table.find(bytes.span, frame)
}

private func isImpossible(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    return UnknownName.isImpossible(bytes.span, start: 0, count: bytes.count)
}

@Suite("Names of commands")
struct CommandNamesTests {
    let table = CommandTable()

    @Test("every definition is found by its own name, in any case")
    func everyNameIsFound() {
        for (row, info) in table.all.enumerated() {
            let words = info.name.split(separator: "|").map(String.init)
            // Behind a container, anything is the name of a subcommand.
            let arguments = info.hasSubcommands ? [] : ["x"]
            for spelling in [words, words.map { $0.uppercased() }] {
                let found = find(spelling + arguments, in: table)
                #expect(found.rawValue == UInt16(row), "\(info.name)")
            }
        }
    }

    @Test("an unknown subcommand is unknown: it does not inherit what its container is")
    func unknownSubcommand() {
        for info in table.all where info.hasSubcommands {
            for name in ["NOSUCH", "", "x y", "\0"] {
                #expect(find([info.name, name], in: table) == .unknown, "\(info.name) \(name)")
                #expect(find([info.name, name, "x"], in: table) == .unknown)
            }
        }
        #expect(find(["CLIENT"], in: table) == .client)
        #expect(find(["config", "get", "x"], in: table) == .configGet)
    }

    @Test("a name is found by its own bytes only, but for the case of letters")
    func everyOtherByte() {
        for info in table.all {
            let words = info.name.split(separator: "|").map { Array($0.utf8) }
            guard var name = words.last else { continue }
            for index in name.indices {
                let right = name[index]
                for byte in UInt8.min...UInt8.max {
                    name[index] = byte
                    let arguments: [[UInt8]] = info.hasSubcommands ? [] : [Array("x".utf8)]
                    let found = find(words.dropLast() + [name] + arguments, in: table)
                    let isIt = found != .unknown && table.info(found)?.name == info.name
                    #expect(isIt == (Word.folded(byte) == right), "\(info.name) \(index) \(byte)")
                }
                name[index] = right
            }
        }
    }

    @Test("names that no command can have")
    func impossibleNames() {
        let impossible = ["", "get\0", "g t", "get\r\n", "client|list", "\u{7f}"]
        for name in impossible + [String(repeating: "x", count: 129)] {
            #expect(isImpossible(name))
        }
        for name in ["get", "FT.SEARCH", "\u{e9}", String(repeating: "x", count: 128)] {
            #expect(!isImpossible(name))
        }
    }

    @Test("the server's words for a name that it does not know")
    func refusals() {
        let rows: [([String], String, String)] = [
            (
                ["no\0x"], "-ERR unknown command 'no', with args beginning with: ",
                "-ERR unknown command `no`, with args beginning with: "
            ),
            (
                ["a\r\nb", "c\0d", ""],
                "-ERR unknown command 'a  b', with args beginning with: 'c' '' ",
                "-ERR unknown command `a  b`, with args beginning with: `c`, ``, "
            ),
        ]
        for (words, new, old) in rows {
            let bytes = words.map { Array($0.utf8) }
            #expect(UnknownName.refusal(of: bytes, isOld: false) == Array(new.utf8))
            #expect(UnknownName.refusal(of: bytes, isOld: true) == Array(old.utf8))
        }
        let long = Array(repeating: UInt8(ascii: "x"), count: 300)
        let cut = String(repeating: "x", count: 128)
        #expect(
            UnknownName.refusal(of: [long, long, long], isOld: false)
                == Array("-ERR unknown command '\(cut)', with args beginning with: '\(cut)' ".utf8))
    }

    @Test(
        "what is no command is unknown",
        arguments: ["", "G", "GETT", "GE", "get ", "NOSUCHCOMMANDATALLATALLATALL", "\u{e9}"])
    func unknownNames(name: String) {
        #expect(find([name, "x"], in: table) == .unknown)
    }

    @Test("a subcommand's name is no command")
    func subcommandAlone() {
        #expect(find(["SETNAME", "x"], in: table) == .unknown)
        #expect(find(["GETNAME"], in: table) == .unknown)
    }

    @Test(
        "commands that change or block the connection may not stand in a block that is forwarded whole"
    )
    func blockMembers() {
        let excluded: [Command] = [
            .select, .auth, .hello, .reset, .quit, .multi, .watch, .subscribe, .unsubscribe,
            .psubscribe, .ssubscribe, .monitor, .sync, .psync, .replconf, .scriptDebug, .debug,
            .shutdown, .save, .readonly, .readwrite, .asking, .wait, .waitaof, .blpop, .clientReply,
            .clientSetname, .clientTracking, .clientId, .clientKill, .clientList,
        ]
        for command in excluded {
            #expect(table.info(command)?.mayStandInBlock == false, "\(command)")
        }
        for command: Command in [.get, .set, .incr, .lpush, .eval] {
            #expect(table.info(command)?.mayStandInBlock == true, "\(command)")
        }
    }
}
