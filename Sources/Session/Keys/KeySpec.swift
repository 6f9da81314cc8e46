// Where the keys of a command are: the column `keys` of commands.tsv.

/// The places of keys among a command's arguments. Argument 0 is the command's name. Shard channels
/// count as keys: they have slots.
package enum KeySpec: Equatable, Sendable {
    /// `-`: no keys.
    case none
    /// `1`, `1..-1`, `1..-1/2`: from `first` to `last`, each `step`. A `last` below 0 counts from
    /// the end; -1 is the last argument.
    case range(first: Int, last: Int, step: Int)
    /// `n1`, `n1/2`, `1+n2`: argument `at` is the number of keys; they begin behind it, each
    /// `step`. With a destination, argument 1 is a key as well.
    case counted(at: Int, step: Int, hasDestination: Bool)
    /// XREAD, XREADGROUP: the first half of what is behind STREAMS.
    case streams
    /// SORT: argument 1, and that behind STORE.
    case sort
    /// GEORADIUS, GEORADIUSBYMEMBER: argument 1, and those behind STORE and STOREDIST.
    case georadius
    /// MIGRATE: argument 3, or if that is empty, all behind KEYS.
    case migrate
}

extension KeySpec {
    /// The spec for a word of commands.tsv.
    init?(word: Substring) {
        switch word {
        case "-": self = .none
        case "streams": self = .streams
        case "sort": self = .sort
        case "georadius": self = .georadius
        case "migrate": self = .migrate
        default:
            guard let spec = KeySpec.counted(word) ?? KeySpec.range(word) else { return nil }
            self = spec
        }
    }

    private static func counted(_ word: Substring) -> KeySpec? {
        let parts = word.split(separator: "+")
        guard let counted = parts.last, counted.first == "n", parts.count <= 2,
            parts.count == 1 || parts[0] == "1"
        else { return nil }
        let numbers = counted.dropFirst().split(separator: "/").map { small($0) }
        guard let at = numbers.first, let at, let step = numbers.count > 1 ? numbers[1] : 1 else {
            return nil
        }
        return .counted(at: at, step: step, hasDestination: parts.count == 2)
    }

    private static func range(_ word: Substring) -> KeySpec? {
        let halves = word.split(separator: "/")
        let ends = halves.first?.split(separator: ".") ?? []
        let step = halves.count > 1 ? small(halves[1]) : 1
        guard let from = ends.first, let first = small(from), let step, ends.count <= 2,
            let last = ends.count > 1 ? small(ends[1]) : first
        else { return nil }
        return .range(first: first, last: last, step: step)
    }

    /// A number of one digit, with a minus or without.
    private static func small(_ word: Substring) -> Int? {
        switch word {
        case "1": 1
        case "2": 2
        case "3": 3
        case "-1": -1
        case "-2": -2
        default: nil
        }
    }
}
