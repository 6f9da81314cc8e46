// A cell with its pools, servers and hubs in a file.

import Pool
import Session

extension CarriedUser: FileElement {
    static var least: Int { 21 }
    static var plural: String { "users" }

    func write(to file: inout FileWriter) {
        file.put(number, Name(name), Secret(password), witness, isRefused)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            number: try file.take(), name: try file.takeName(), password: try file.takeSecret(),
            witness: try file.take(), isRefused: try file.take())
    }
}

extension CarriedPause: FileValue {
    static var least: Int { 21 }

    func write(to file: inout FileWriter) {
        file.put(end, review, number, runID.map { Name($0) })
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            end: try file.take(), review: try file.take(), number: try file.take(),
            runID: try file.takeOptionalName())
    }
}

extension CarriedHalt: FileValue {
    static var least: Int { 17 }

    func write(to file: inout FileWriter) { file.put(began, until, closesHolders) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            began: try file.take(), until: try file.take(), closesHolders: try file.take())
    }
}

extension CarriedPool: FileElement {
    static var least: Int { 45 }
    static var plural: String { "pools" }

    func write(to file: inout FileWriter) {
        file.put(name, users, lastUser, newestDefault, openSince, defaultNeedsLogin, isLoginKnown)
        file.put(acceptedKeys, selectedKeys, pause, halt, subscriptions)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(name: try file.take())
        users = try file.take()
        lastUser = try file.take()
        newestDefault = try file.take()
        openSince = try file.take()
        defaultNeedsLogin = try file.take()
        isLoginKnown = try file.take()
        acceptedKeys = try file.take()
        selectedKeys = try file.take()
        pause = try file.take()
        halt = try file.take()
        subscriptions = try file.take()
    }
}

extension CarriedFacts.NewProtocol: FileWord {
    static var kind: String { "knowledge of RESP3" }

    var word: String {
        switch self {
        case .unknown: "unknown"
        case .spoken: "spoken"
        case .refused: "refused"
        }
    }
}

extension FenceWord: FileWord {
    static var kind: String { "form of a fence" }

    var word: String {
        switch self {
        case .echo: "echo"
        case .ping: "ping"
        case .none: "none"
        }
    }
}

extension CarriedFacts: FileValue {
    static var least: Int { 26 }

    func write(to file: inout FileWriter) {
        file.put(version.map { Name($0) }, valkeyVersion.map { Name($0) })
        file.put(runID.map { Name($0) }, timeoutSeconds, outputLimit, clientLine)
        file.put(hasTransactions, newProtocol)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init()
        version = try file.takeOptionalName()
        valkeyVersion = try file.takeOptionalName()
        runID = try file.takeOptionalName()
        timeoutSeconds = try file.take()
        outputLimit = try file.take()
        clientLine = try file.take()
        hasTransactions = try file.take()
        newProtocol = try file.take()
    }
}

extension CarriedFenceForm: FileElement {
    static var least: Int { 20 }
    static var plural: String { "forms of fences" }

    func write(to file: inout FileWriter) { file.put(user, form, since) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(user: try file.take(), form: try file.take(), since: try file.take())
    }
}

extension CarriedServer: FileElement {
    static var least: Int { 62 }
    static var plural: String { "servers" }

    func write(to file: inout FileWriter) {
        file.put(pool, node, address, isPrimary, facts, runID.map { Name($0) }, epoch)
        file.put(formerRunIDs.map { Name($0) }, areSeveral, departure, fences)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            pool: try file.take(), node: try file.take(), address: try file.take(),
            isPrimary: try file.take(), facts: try file.take(),
            runID: try file.takeOptionalName(), epoch: try file.take())
        formerRunIDs = (try file.take() as [Name]).map(\.bytes)
        areSeveral = try file.take()
        departure = try file.take()
        fences = try file.take()
    }
}

extension CarriedHub: FileElement {
    static var least: Int { 13 }
    static var plural: String { "hubs" }

    func write(to file: inout FileWriter) { file.put(pool, user, server, hasShards) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            pool: try file.take(), user: try file.take(), server: try file.take(),
            hasShards: try file.take())
    }
}

extension CarriedCell: FileValue {
    static var least: Int { 24 }

    func write(to file: inout FileWriter) {
        file.put(pools, servers, upstreams, clients, hubs, blocks.map { Secret($0) })
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init()
        pools = try file.take()
        servers = try file.take()
        upstreams = try file.take()
        clients = try file.take()
        hubs = try file.take()
        blocks = (try file.take() as [Secret]).map(\.bytes)
    }
}
