// CLIENT KILL, which is about Redpool's clients: the server words the errors, the proxy kills.

import Pool
import Session

/// Whom a CLIENT KILL is meant for, in Redpool's own ids and addresses.
struct KillOrder {
    /// The form with an address only, which answers +OK or an error instead of a number.
    let isByAddress: Bool
    /// The clients of other workers, all of them.
    let others: [ClientSnapshot]
    private var ids: Set<UInt64>?
    private var addresses: Set<String>?
    private var localAddresses: Set<String>?
    private var users: Set<String>?
    private var type: String?
    private var maximumAge: Int64?
    private var skipsSelf = true
    /// A filter of a server that is newer than this table: nobody is killed on a guess.
    private var isUnderstood = true

    /// An address that no connection can have.
    private static let nobodysAddress = Array("redpool:0".utf8)

    /// Reads a whole command; what is malformed the server refuses.
    init(_ words: [[UInt8]], others: [ClientSnapshot]) {
        self.others = others
        isByAddress = words.count == 3
        if isByAddress {
            addresses = [KillOrder.text(words[2])]
            skipsSelf = false
            return
        }
        for index in stride(from: 2, to: words.count - 1, by: 2) {
            read(Word.lowercased(words[index]), KillOrder.text(words[index + 1]))
        }
    }

    private mutating func read(_ filter: String, _ value: String) {
        switch filter {
        // Redis 6.2 takes 0 for no filter at all; later versions refuse it.
        case "id": ids = value == "0" ? nil : [UInt64(value) ?? 0]
        case "addr": addresses = [value]
        case "laddr": localAddresses = [value]
        case "user": users = [value]
        case "type": type = value.lowercased()
        case "maxage": maximumAge = Int64(value)
        case "skipme": skipsSelf = value.lowercased() != "no"
        default: isUnderstood = false
        }
    }

    /// The connections of masters and replicas are the server's own affair. Valkey from 8.0 on
    /// calls a master primary as well; to others that is a word like any unknown one.
    var isForServer: Bool {
        switch type {
        case "master", "primary", "replica", "slave": true
        default: false
        }
    }

    /// The same command, meant for nobody: the server checks it and kills no connection. Later
    /// filters replace or narrow earlier ones (Redis 7.0 networking.c, clientKillCommand).
    static func standIn(_ words: [[UInt8]]) -> [[UInt8]] {
        switch words.count {
        case ..<3: words
        case 3: Array(words[..<2]) + [nobodysAddress]
        default: words + [Array("ADDR".utf8), nobodysAddress]
        }
    }

    /// True when `client` is meant, in an order that `killer` has given.
    func isMeant(_ client: ClientSnapshot, by killer: ClientConnection) -> Bool {
        guard isUnderstood else { return false }
        if skipsSelf, client.serial == killer.serial { return false }
        if let ids, !ids.contains(client.serial) { return false }
        if let addresses, !addresses.contains(client.address) { return false }
        if let localAddresses, !localAddresses.contains(client.localAddress) { return false }
        if let users, !users.contains(client.user) { return false }
        if let maximumAge, client.ageSeconds < maximumAge { return false }
        return type == nil || type == client.type
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
