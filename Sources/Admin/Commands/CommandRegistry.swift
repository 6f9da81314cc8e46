// The table of the console's commands. A new one is a row in one of these lists; Access decides by
// its first word who may give it.

import RESP

enum CommandRegistry {
    /// In the order of HELP.
    static let all: [ConsoleCommand] =
        ShowCommands.traffic + ShowNumbers.all + ShowCommands.process + PoolCommands.all
        + ChangeCommands.all + ConnectionCommands.all

    private static let words = all.map(\.words)

    /// The command that these words begin with.
    static func find(_ given: [[UInt8]]) -> ConsoleCommand? {
        let found = given.prefix(2).map { Word($0) }
        for count in [2, 1] where found.count >= count {
            if let index = words.firstIndex(of: Array(found[..<count])) { return all[index] }
        }
        return nil
    }

    /// The text for words that are no command.
    static func unknown(_ given: [[UInt8]]) -> String {
        let shown = given.prefix(2).map { PlainText.of($0, longest: 24) }.joined(separator: " ")
        let first = Word(given[0])
        let related = all.filter { $0.words.count == 2 && $0.words[0] == first }
        if related.isEmpty { return "unknown command '\(shown)': SHOW HELP lists the commands" }
        let names = related.map(\.name).joined(separator: ", ")
        return "unknown command '\(shown)': there are \(names)"
    }
}
