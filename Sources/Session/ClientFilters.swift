// The targets of CLIENT LIST, CLIENT KILL and CLIENT UNBLOCK, in Redpool's own ids and addresses.

import RESP

/// The clients that a CLIENT LIST asks for.
package struct ListFilter: Sendable {
    /// Nil for all.
    package private(set) var ids: Set<Int64>?
    /// Nil for all.
    package private(set) var type: ClientType?
    /// Nil when only the filters above are given.
    package private(set) var others: KillFilter?
    /// False for a form that is not in the table: Redpool does not guess whom to list.
    package private(set) var isUnderstood = false

    /// Reads `CLIENT LIST [TYPE t | ID n ...]` (Redis 7.0 networking.c, clientCommand), and any
    /// number of CLIENT KILL's filters, which Valkey 8.1 has here as well.
    package init(_ words: [[UInt8]]) {
        if words.count == 2 {
            isUnderstood = true
        } else if words.count == 4, Word(words[2]) == "type" {
            type = ClientType(words[3])
            isUnderstood = type != nil
        } else if words.count > 3, Word(words[2]) == "id" {
            let numbers = words[3...].compactMap { Word.integer($0, in: Word.anyNumber) }
            ids = Set(numbers)
            isUnderstood = numbers.count == words.count - 3
        }
        guard !isUnderstood, words.count > 3 else { return }
        let filter = KillFilter(words, skipsSelf: false)
        isUnderstood = filter.isUnderstood
        ids = nil
        if isUnderstood { others = filter }
    }
}

/// The kinds of clients that CLIENT LIST and CLIENT KILL distinguish.
package enum ClientType: Sendable {
    case normal
    case pubsub
    /// Replication links, which belong to the server.
    case replication

    /// Reads a word; nil for one that no server has. Valkey from 8.0 on has `primary`.
    package init?(_ word: [UInt8]) {
        switch Word(word) {
        case "normal": self = .normal
        case "pubsub": self = .pubsub
        case "master", "primary", "replica", "slave": self = .replication
        default: return nil
        }
    }
}

/// The clients that a CLIENT KILL is for.
package struct KillFilter: Sendable {
    /// The form with only an address. Its reply is +OK or an error instead of a number.
    package let isByAddress: Bool
    /// Here and below: nil when there is no such filter.
    package private(set) var ids: Set<Int64>?
    /// Compared as C strings (`strcmp`).
    package private(set) var address: [UInt8]?
    package private(set) var localAddress: [UInt8]?
    package private(set) var user: [UInt8]?
    package private(set) var type: ClientType?
    /// In seconds.
    package private(set) var maximumAge: Int64?
    package private(set) var skipsSelf: Bool
    /// False for a filter that is not in the table: Redpool does not guess whom to kill.
    package private(set) var isUnderstood = true

    /// Reads a complete command (Redis 7.0 networking.c, clientKillCommand). `skipsSelf` is the
    /// default of SKIPME. Valkey takes several ids after ID.
    package init(_ words: [[UInt8]], skipsSelf: Bool = true) {
        self.skipsSelf = skipsSelf
        isByAddress = words.count == 3
        if isByAddress {
            address = KillFilter.text(words[2])
            self.skipsSelf = false
            return
        }
        isUnderstood = words.count > 3
        var index = 2
        while index < words.count {
            let isID = Word(words[index]) == "id"
            let isRead = index + 1 < words.count && read(Word(words[index]), words[index + 1])
            if !isRead { isUnderstood = false }
            index += 2
            while isID, isRead, index < words.count,
                let number = Word.integer(words[index], in: Word.anyNumber)
            {
                ids?.insert(number)
                index += 1
            }
        }
    }

    private mutating func read(_ filter: Word, _ value: [UInt8]) -> Bool {
        switch filter {
        case "id":
            guard let number = Word.integer(value, in: Word.anyNumber) else { return false }
            // Redis 6.2 reads 0 as no filter; later versions refuse it.
            ids = number == 0 ? nil : [number]
        case "addr": address = KillFilter.text(value)
        case "laddr": localAddress = KillFilter.text(value)
        case "user": user = value
        case "type":
            type = ClientType(value)
            return type != nil
        case "maxage":
            maximumAge = Word.integer(value, in: Word.anyNumber)
            return maximumAge != nil
        case "skipme":
            switch Word(value) {
            case "yes": skipsSelf = true
            case "no": skipsSelf = false
            default: return false
            }
        default: return false
        }
        return true
    }

    /// Connections of masters and replicas belong to the server.
    package var isForServer: Bool { isUnderstood && type == .replication }

    /// The bytes before the first NUL.
    private static func text(_ bytes: [UInt8]) -> [UInt8] { Array(bytes.prefix { $0 != 0 }) }

    /// An address that no connection can have.
    private static let nobodysAddress = Array("redpool:0".utf8)

    /// The same command with `name` as the user of each USER: the server refuses names that it does
    /// not have, and those of Redpool's own logins are such.
    package static func naming(_ name: [UInt8], in words: [[UInt8]]) -> [[UInt8]] {
        var words = words
        var index = 2
        while words.count > 3, index + 1 < words.count {
            let isID = Word(words[index]) == "id"
            if Word(words[index]) == "user" { words[index + 1] = name }
            index += 2
            while isID, index < words.count,
                Word.integer(words[index], in: Word.anyNumber) != nil
            {
                index += 1
            }
        }
        return words
    }

    /// The same command with filters that match no connection: the server checks it and kills none.
    /// Later filters replace or narrow earlier ones (Redis 7.0 networking.c, clientKillCommand).
    package static func standIn(_ words: [[UInt8]]) -> [[UInt8]] {
        switch words.count {
        case ..<3: words
        case 3: Array(words[..<2]) + [nobodysAddress]
        default: words + [Array("ADDR".utf8), nobodysAddress]
        }
    }
}

/// The client that a CLIENT UNBLOCK is for.
package struct UnblockOrder: Sendable {
    /// Nil when the argument is not a number.
    package let id: Int64?
    /// False for a form that is not in the table.
    package let isUnderstood: Bool

    /// Reads `CLIENT UNBLOCK id [TIMEOUT|ERROR]`.
    package init(_ words: [[UInt8]]) {
        id = words.count > 2 ? Word.integer(words[2], in: Word.anyNumber) : nil
        switch words.count {
        case 3: isUnderstood = id != nil
        case 4: isUnderstood = id != nil && ["timeout", "error"].contains(Word(words[3]))
        default: isUnderstood = false
        }
    }

    /// The same command with the server's `id` of the connection. An argument that is not a number
    /// here must not be one to any server.
    package static func standIn(_ words: [[UInt8]], as id: Int64) -> [[UInt8]] {
        guard words.count > 2 else { return words }
        var words = words
        words[2] = Array(
            (Word.integer(words[2], in: Word.anyNumber) == nil ? "x" : String(id)).utf8)
        return words
    }
}
