// A command on its way: what was asked, by whom, and the one reply to it.

import Config
import RESP

/// What a command answers.
enum Reply {
    case simple(String)
    /// The text begins with an error word.
    case error(String)
    case integer(Int64)
    /// Text in the form that Redis uses for INFO.
    case text(String)
    /// Lines in the form of a table: an array of simple strings, or one text.
    case lines([String])
    /// A complete reply.
    case bytes([UInt8])
    case table(Table)

    static var ok: Reply { .simple("OK") }
}

/// One command of a connection. It gets one reply, at once or later.
final class Call {
    let console: Console
    let connection: ConsoleConnection
    /// What follows the command's name, without the word JSON.
    let arguments: [[UInt8]]
    let isJSON: Bool
    private var isAnswered = false

    init(
        _ connection: ConsoleConnection, console: Console, arguments: [[UInt8]], isJSON: Bool
    ) {
        self.console = console
        self.connection = connection
        self.arguments = arguments
        self.isJSON = isJSON
    }

    var host: ConsoleHost { console.host }
    var caller: Caller { connection.caller }

    /// Answers. The caller may have left meanwhile.
    func reply(_ reply: Reply) {
        precondition(!isAnswered, "a command has one reply")
        isAnswered = true
        connection.reply(reply, isJSON: isJSON)
    }

    /// Answers with an error; `text` follows the word ERR.
    func fail(_ text: String) { reply(.error("ERR \(text)")) }

    /// The argument at `index` as a word; an empty word if there is none.
    func word(_ index: Int) -> Word {
        index < arguments.count ? Word(arguments[index]) : Word([])
    }

    /// The number that follows LIMIT at `index`. Answers and returns nil if it is none.
    func limit(at index: Int) -> Int? {
        guard let number = Word.integer(arguments[index], in: 1...1_000_000_000) else {
            fail("LIMIT is a number above 0")
            return nil
        }
        return Int(number)
    }

    /// The pool that the argument at `index` names. Answers and returns nil if there is no such
    /// pool.
    func pool(at index: Int) -> String? {
        let given = PlainText.of(arguments[index])
        if host.config.pools.contains(where: { $0.name == given }) { return given }
        let names = host.config.pools.map(\.name).joined(separator: ", ")
        fail("there is no pool \(given): the pools are \(names)")
        return nil
    }
}

/// A command of the console.
struct ConsoleCommand: Sendable {
    /// In capitals; one word or two.
    let name: String
    /// What follows the name.
    let usage: String
    /// One line for HELP.
    let summary: String
    /// How many words may follow the name.
    let arguments: ClosedRange<Int>
    let run: @Sendable (Call) -> Void

    init(
        _ name: String, _ usage: String, _ summary: String, arguments: ClosedRange<Int>,
        run: @escaping @Sendable (Call) -> Void
    ) {
        self.name = name
        self.usage = usage
        self.summary = summary
        self.arguments = arguments
        self.run = run
    }

    /// A command without arguments.
    init(_ name: String, _ summary: String, run: @escaping @Sendable (Call) -> Void) {
        self.init(name, "", summary, arguments: 0...0, run: run)
    }

    /// The words of the name.
    var words: [Word] { name.split(separator: " ").map { Word(Array($0.utf8)) } }

    var form: String { usage.isEmpty ? name : "\(name) \(usage)" }
}
