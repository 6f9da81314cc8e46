// Values of `Pool` and `Session` in a file.

import Pool
import Session

extension PoolKey: FileValue {
    static var least: Int { 9 }

    func write(to file: inout FileWriter) { file.put(user, protocolVersion, database) }

    init(from file: inout FileReader) throws(HandOverError) {
        let user: UInt32 = try file.take()
        let version: UInt8 = try file.take()
        guard version == 2 || version == 3 else {
            throw .number(UInt64(version), of: "protocol version")
        }
        self.init(user: user, protocolVersion: version, database: try file.take())
    }
}

extension PoolKey: FileElement {
    static var plural: String { "keys" }
}

extension UpstreamID: FileValue {
    static var least: Int { 8 }

    func write(to file: inout FileWriter) { file.put(slot, generation) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(slot: try file.take(), generation: try file.take())
    }
}

extension WriteTrail: FileValue {
    static var least: Int { 2 }

    func write(to file: inout FileWriter) { file.put(upstream, isSpread) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(upstream: try file.take(), isSpread: try file.take())
    }
}

extension ClientIdentity: FileValue {
    static var least: Int { 12 }

    func write(to file: inout FileWriter) {
        file.put(Name(name), Name(libraryName), Name(libraryVersion))
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            name: try file.takeName(), libraryName: try file.takeName(),
            libraryVersion: try file.takeName())
    }
}

extension ReplyMode: FileWord {
    static var kind: String { "reply mode" }

    var word: String {
        switch self {
        case .on: "on"
        case .off: "off"
        case .skipNext: "skip"
        }
    }
}

extension SubscriptionKind: FileWord {
    static var kind: String { "kind of subscription" }

    var word: String {
        switch self {
        case .channel: "channel"
        case .pattern: "pattern"
        case .shard: "shard"
        }
    }
}

/// In the file, an expectation is the name of its case: a test keeps all of them as they are.
extension Expectation: FileValue {
    static let words = allCases.map { "\($0)" }
    private static let byWord = Dictionary(uniqueKeysWithValues: zip(words, allCases))
    private static let plainWord = "plain"

    static var least: Int { 5 }

    func write(to file: inout FileWriter) {
        if self == .plain { return file.put(word: Expectation.plainWord) }
        file.put(word: Expectation.words[Int(rawValue)])
    }

    init(from file: inout FileReader) throws(HandOverError) {
        let word = try file.takeWord()
        guard let found = word == Expectation.plainWord ? .plain : Expectation.byWord[word] else {
            throw .unknownWord(word, of: "expectation")
        }
        self = found
    }
}

extension ConnectionFlags: FileValue {
    private enum Flag: FileWord, FileElement {
        case noEvict, noTouch, readOnly, importSource

        static var kind: String { "flag of a connection" }
        static var plural: String { "flags" }

        var word: String {
            switch self {
            case .noEvict: "no-evict"
            case .noTouch: "no-touch"
            case .readOnly: "readonly"
            case .importSource: "import-source"
            }
        }

        var flag: ConnectionFlags {
            switch self {
            case .noEvict: .noEvict
            case .noTouch: .noTouch
            case .readOnly: .readOnly
            case .importSource: .importSource
            }
        }
    }

    static var least: Int { 4 }

    func write(to file: inout FileWriter) {
        file.put(list: Flag.allCases.filter { contains($0.flag) })
    }

    init(from file: inout FileReader) throws(HandOverError) {
        let flags: [Flag] = try file.takeList()
        self.init(flags.map(\.flag))
    }
}

extension HeldState: FileValue {
    static var least: Int { 25 }

    func write(to file: inout FileWriter) {
        let held = carried
        file.put(held.isInTransaction, held.isWatching, held.channels, held.patterns, held.shards)
        file.put(held.isTracking, held.isBroadcast, held.isMonitoring, held.flags)
        file.put(held.hasMembers, held.remembersKeys, held.isTarget, held.isTainted)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        var held = CarriedHold()
        held.isInTransaction = try file.take()
        held.isWatching = try file.take()
        held.channels = try file.take()
        held.patterns = try file.take()
        held.shards = try file.take()
        held.isTracking = try file.take()
        held.isBroadcast = try file.take()
        held.isMonitoring = try file.take()
        held.flags = try file.take()
        held.hasMembers = try file.take()
        held.remembersKeys = try file.take()
        held.isTarget = try file.take()
        held.isTainted = try file.take()
        self.init(carried: held)
    }
}

/// A member without what follows from those before it.
private struct Member: FileElement {
    static var least: Int { 21 }
    static var plural: String { "members" }
    var index: UInt32
    var expectation: Expectation
    var value: UInt32
    var words: [Name]
    var login: [Name]

    init(_ member: QueuedMember) {
        index = UInt32(clamping: member.index)
        expectation = member.expectation
        value = member.value
        words = member.words.map { Name($0) }
        login = member.login.map { Name($0) }
    }

    func write(to file: inout FileWriter) { file.put(index, expectation, value, words, login) }

    init(from file: inout FileReader) throws(HandOverError) {
        index = try file.take()
        expectation = try file.take()
        value = try file.take()
        words = try file.take()
        login = try file.take()
    }

    func behind(_ last: QueuedMember?) -> QueuedMember {
        QueuedMember(
            Int(index), expectation, value, words.map(\.bytes), login: login.map(\.bytes),
            behind: last)
    }
}

extension CarriedSession: FileValue {
    static var least: Int { 41 }

    func write(to file: inout FileWriter) {
        file.put(key, writes, openTransaction, replyMode, hasReset, hasSelected, identity)
        file.put(members.map { Member($0) }, hasQueuedStranger, redirection)
        file.put(clientUser.map { Name($0) }, changesUserLater)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(key: try file.take())
        writes = try file.take()
        openTransaction = try file.take()
        replyMode = try file.take()
        hasReset = try file.take()
        hasSelected = try file.take()
        identity = try file.take()
        for member in try file.take() as [Member] { members.append(member.behind(members.last)) }
        hasQueuedStranger = try file.take()
        redirection = try file.take()
        clientUser = try file.takeOptionalName()
        changesUserLater = try file.take()
    }
}

extension CarriedOwnCommands.Sent: FileElement {
    static var least: Int { 8 }
    static var plural: String { "own commands" }

    func write(to file: inout FileWriter) { file.put(Name(address), Name(text)) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(address: try file.takeName(), text: try file.takeName())
    }
}

extension CarriedOwnCommands.Alias: FileElement {
    static var least: Int { 8 }
    static var plural: String { "addresses" }

    func write(to file: inout FileWriter) { file.put(Name(seen), Name(local)) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(seen: try file.takeName(), local: try file.takeName())
    }
}

extension CarriedOwnCommands: FileValue {
    static var least: Int { 8 }

    func write(to file: inout FileWriter) { file.put(sent, aliases) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(sent: try file.take(), aliases: try file.take())
    }
}

extension CarriedSubscriptions.Entry: FileElement {
    static var least: Int { 21 }
    static var plural: String { "entries" }
    static var most: Int { 100_000_000 }

    func write(to file: inout FileWriter) {
        file.put(hub.raw, kind)
        file.put(Name(name), messages)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            hub: HubRef(try file.take()), kind: try file.take(), name: try file.takeName(),
            messages: try file.take())
    }
}

extension CarriedSubscriptions.Subscriber: FileElement {
    static var least: Int { 12 }
    static var plural: String { "subscribers" }

    func write(to file: inout FileWriter) {
        file.put(UInt64(client.raw))
        file.put(numbers: entries)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        let client: UInt64 = try file.take()
        self.init(
            client: ClientRef(UInt32(clamping: client)),
            entries: try file.takeNumbers(of: "subscriptions"))
    }
}

extension CarriedSubscriptions: FileValue {
    static var least: Int { 8 }

    func write(to file: inout FileWriter) { file.put(entries, subscribers) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init()
        entries = try file.take()
        subscribers = try file.take()
    }
}
