// An upstream in a file.

import Pool
import Session

extension CarriedTimes: FileValue {
    static var least: Int { 40 }

    func write(to file: inout FileWriter) {
        file.put(dialledAt, connectedAt, idleSince, activeAt, waitingSince)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            dialledAt: try file.take(), connectedAt: try file.take(), idleSince: try file.take(),
            activeAt: try file.take(), waitingSince: try file.take())
    }
}

extension CarriedDeparture: FileValue {
    static var least: Int { 12 }

    func write(to file: inout FileWriter) {
        file.put(by)
        file.put(word: reason)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(by: try file.take(), reason: try file.takeWord())
    }
}

extension CarriedOrigin: FileValue {
    static var least: Int { 7 }

    func write(to file: inout FileWriter) {
        file.put(epoch, runID.map { Name($0) }, serverID, isIdentified, lacksLogin, isReadOnly)
        file.put(departure)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init()
        epoch = try file.take()
        runID = try file.takeOptionalName()
        serverID = try file.take()
        isIdentified = try file.take()
        lacksLogin = try file.take()
        isReadOnly = try file.take()
        departure = try file.take()
    }
}

extension CarriedHolder: FileValue {
    static var least: Int { 10 }

    func write(to file: inout FileWriter) { file.put(since, isBlocking, isDoubtful) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            since: try file.take(), isBlocking: try file.take(), isDoubtful: try file.take())
    }
}

extension CarriedUse: FileValue {
    static var least: Int { 7 }

    func write(to file: inout FileWriter) {
        switch self {
        case .idle: file.put(word: "idle")
        case .shared(let isSlow):
            file.put(word: "shared")
            file.put(isSlow)
        case .exclusive(let client, let isBlocking, let since):
            file.put(word: "exclusive")
            file.put(client, isBlocking, since)
        case .held(let client, let state, let holder):
            file.put(word: "held")
            file.put(client, state, holder)
        case .piped(let client, let since):
            file.put(word: "piped")
            file.put(client, since)
        case .hub(let hub):
            file.put(word: "hub")
            file.put(hub)
        }
    }

    init(from file: inout FileReader) throws(HandOverError) {
        switch try file.takeWord() {
        case "idle": self = .idle
        case "shared": self = .shared(isSlow: try file.take())
        case "exclusive":
            self = .exclusive(
                client: try file.take(), isBlocking: try file.take(), since: try file.take())
        case "held":
            self = .held(client: try file.take(), try file.take(), try file.take())
        case "piped": self = .piped(client: try file.take(), since: try file.take())
        case "hub": self = .hub(try file.take())
        case let word: throw .unknownWord(word, of: "use of an upstream")
        }
    }
}

extension CarriedExpectation: FileElement {
    static var least: Int { 27 }
    static var plural: String { "expectations" }
    static var most: Int { 100_000_000 }

    func write(to file: inout FileWriter) {
        file.put(client, count, expectation, value, isSilent)
        file.put(word: command)
        file.put(since)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            client: try file.take(), count: try file.take(), expectation: try file.take(),
            value: try file.take(), isSilent: try file.take(), command: try file.takeWord(),
            since: try file.take())
    }
}

extension CarriedFence: FileValue {
    static var least: Int { 16 }

    func write(to file: inout FileWriter) { file.put(digits, form) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(digits: try file.take(), form: try file.take())
    }
}

extension CarriedUpstream: FileElement {
    static var least: Int { 128 }
    static var plural: String { "upstreams" }

    func write(to file: inout FileWriter) {
        file.put(descriptor, server, id, serial, key, address, times, origin, identity, use)
        file.put(expectations, fence)
        file.put(spoiled != nil)
        if let spoiled { file.put(word: spoiled) }
        file.put(answered, Secret(unsent), Secret(partial))
    }

    init(from file: inout FileReader) throws(HandOverError) {
        let descriptor = try file.takeDescriptor()
        let server: UInt32 = try file.take()
        let id: UpstreamID = try file.take()
        let serial: UInt64 = try file.take()
        let key: PoolKey = try file.take()
        let address: String = try file.take()
        let times: CarriedTimes = try file.take()
        let origin: CarriedOrigin = try file.take()
        let identity: ClientIdentity = try file.take()
        self.init(
            descriptor: descriptor, server: server, id: id, serial: serial, key: key,
            address: address, times: times, use: try file.take())
        self.origin = origin
        self.identity = identity
        expectations = try file.take()
        fence = try file.take()
        spoiled = try file.take() as Bool ? try file.takeWord() : nil
        answered = try file.take()
        unsent = try file.takeSecret()
        partial = try file.takeSecret()
    }
}
