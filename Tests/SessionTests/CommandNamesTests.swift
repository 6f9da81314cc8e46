import RESP
import Testing

@testable import Session

/// Finds the command of `words` as the proxy would.
private func find(_ words: [String], in table: CommandTable) -> Command {
    var bytes: [UInt8] = []
    Encode.command(words, into: &bytes)
    var scanner = CommandScanner()
    guard
        case .command(let frame) = scanner.scan(
            bytes.span, frameStart: 0, limits: CommandLimits())
    else { return .unknown }
    return table.find(bytes.span, frame)
}

@Suite("Names of commands")
struct CommandNamesTests {
    let table = CommandTable()

    @Test("every definition is found by its own name, in any case")
    func everyNameIsFound() {
        for (row, info) in table.all.enumerated() {
            let words = info.name.split(separator: "|").map(String.init)
            // Behind CLIENT, anything is the name of a subcommand.
            let arguments = info.name == "client" ? [] : ["x"]
            for spelling in [words, words.map { $0.uppercased() }] {
                let found = find(spelling + arguments, in: table)
                #expect(found.rawValue == UInt16(row), "\(info.name)")
            }
        }
    }

    @Test("a container with an unknown subcommand is the container")
    func unknownSubcommand() {
        #expect(find(["CONFIG", "NOSUCH"], in: table) == .config)
        #expect(find(["CLIENT"], in: table) == .client)
        #expect(find(["config", "get", "x"], in: table) == .configGet)
    }

    @Test("an unknown subcommand of CLIENT is unknown: it could change the connection")
    func unknownClientSubcommand() {
        #expect(find(["CLIENT", "NOSUCH"], in: table) == .unknown)
        #expect(find(["client", ""], in: table) == .unknown)
        #expect(find(["CLIENT", "NOSUCH", "x"], in: table) == .unknown)
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

    @Test("commands that change the connection may not stand in a block that is forwarded whole")
    func blockMembers() {
        let excluded: [Command] = [
            .select, .auth, .hello, .reset, .quit, .multi, .watch, .subscribe, .unsubscribe,
            .psubscribe, .ssubscribe, .monitor, .sync, .psync, .replconf, .scriptDebug, .debug,
            .shutdown, .save, .readonly, .readwrite, .asking, .wait, .waitaof, .clientReply,
            .clientSetname, .clientTracking, .clientId, .clientKill, .clientList,
        ]
        for command in excluded {
            #expect(table.info(command)?.mayStandInBlock == false, "\(command)")
        }
        for command: Command in [.get, .set, .incr, .lpush, .blpop, .eval] {
            #expect(table.info(command)?.mayStandInBlock == true, "\(command)")
        }
    }
}
