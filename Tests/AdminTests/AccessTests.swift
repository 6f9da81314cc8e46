import RESP
import Testing

@testable import Admin

private func words(_ text: String) -> [[UInt8]] {
    text.split(separator: " ").map { Array($0.utf8) }
}

@Suite("Access: who may do what")
struct AccessTests {
    @Test("who can open the socket may look; changes are for root and the daemon's user")
    func changes() {
        let (root, own, other) = (
            Caller(process: 1, user: 0), Caller(process: 2, user: 900),
            Caller(process: 3, user: 1000)
        )
        for command in CommandRegistry.all {
            let first = command.words[0]
            for caller in [root, own] {
                #expect(Access.refusal(of: first, to: caller, daemon: 900) == nil)
            }
            let refusal = Access.refusal(of: first, to: other, daemon: 900)
            #expect((refusal != nil) == Access.isChange(first), "\(command.name)")
            if let refusal {
                #expect(refusal.hasPrefix("NOPERM ") && refusal.contains("900"))
                #expect(refusal.contains("1000"))
            }
        }
        // Whose user is not known may not change anything.
        let stranger = Caller(process: 0, user: nil)
        #expect(Access.refusal(of: "shutdown", to: stranger, daemon: 0) != nil)
        #expect(Access.refusal(of: "show", to: stranger, daemon: 0) == nil)
    }

    @Test("a command that is not on the list of harmless ones is a change")
    func standard() {
        #expect(Access.isChange("anything"))
        #expect(Access.isChange(""))
        #expect(!Access.isChange(Word(Array("show\0x".utf8))))
    }
}

@Suite("The registry: which words are which command")
struct RegistryTests {
    @Test(
        "names are found in any case; two words go before one",
        arguments: [
            ("show pools", "SHOW POOLS"), ("SHOW Clients BY wait", "SHOW CLIENTS"),
            ("ping", "PING"), ("COMMAND DOCS", "COMMAND"), ("client id", "CLIENT ID"),
            ("SHUTDOWN NOW", "SHUTDOWN"),
        ])
    func find(given: String, name: String) {
        #expect(CommandRegistry.find(words(given))?.name == name)
    }

    @Test(
        "what is no command says what there is instead",
        arguments: [
            ("show", "SHOW POOLS"), ("show me", "SHOW MEMORY"), ("GET a", "HELP"),
            ("client list", "CLIENT SETNAME"),
        ])
    func unknown(given: String, hint: String) {
        #expect(CommandRegistry.find(words(given)) == nil)
        #expect(CommandRegistry.unknown(words(given)).contains(hint))
    }

    @Test("each command has a name of one word or two, and one line of help")
    func rows() {
        let names = CommandRegistry.all.map(\.name)
        #expect(Set(names).count == names.count)
        for command in CommandRegistry.all {
            #expect((1...2).contains(command.words.count), "\(command.name)")
            #expect(!command.summary.isEmpty, "\(command.name)")
            // JSON would be taken for the form of the reply.
            #expect(!command.words.contains("json"))
        }
    }

    @Test("their help fits 80 columns, in redis-cli as well, which numbers the lines")
    func help() {
        let widest = CommandRegistry.all.map(\.form.count).max() ?? 0
        for command in CommandRegistry.all {
            #expect(4 + widest + 2 + command.summary.count <= 80, "\(command.form)")
        }
    }
}
