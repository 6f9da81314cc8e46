// The process, its listening sockets, and who waits for an answer, in a file.

import Pool

extension CarriedProcess: FileValue {
    static var least: Int { 56 }

    func write(to file: inout FileWriter) {
        file.put(version, successor, threads, pid, startedAt, startedOn, upgradeBegan)
        file.put(lastClient, lastUpstream, upgrades)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            version: try file.take(), successor: try file.take(), threads: try file.take(),
            pid: try file.take(), startedAt: try file.take(), startedOn: try file.take(),
            upgradeBegan: try file.take(), lastClient: try file.take(),
            lastUpstream: try file.take(), upgrades: try file.take())
    }
}

extension CarriedListener.Purpose: FileValue {
    static var least: Int { 8 }

    func write(to file: inout FileWriter) {
        switch self {
        case .pool(let name):
            file.put(word: "pool")
            file.put(name)
        case .console: file.put(word: "console")
        case .http: file.put(word: "http")
        }
    }

    init(from file: inout FileReader) throws(HandOverError) {
        switch try file.takeWord() {
        case "pool": self = .pool(try file.take())
        case "console": self = .console
        case "http": self = .http
        case let word: throw .unknownWord(word, of: "purpose of a listener")
        }
    }
}

extension CarriedFile: FileValue {
    static var least: Int { 20 }

    func write(to file: inout FileWriter) { file.put(path, device, inode) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(path: try file.take(), device: try file.take(), inode: try file.take())
    }
}

extension CarriedListener: FileElement {
    static var least: Int { 19 }
    static var plural: String { "listeners" }
    static var most: Int { Int(UInt16.max) + 1 }

    func write(to file: inout FileWriter) {
        file.put(descriptor, purpose, address, number)
        file.put(self.file)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            descriptor: try file.takeDescriptor(), purpose: try file.take(),
            address: try file.take(), number: try file.take(), file: try file.take())
    }
}

extension CarriedCaller: FileElement {
    static var least: Int { 10 }
    static var plural: String { "callers" }

    func write(to file: inout FileWriter) {
        file.put(descriptor, protocolVersion, cuts)
        file.put(Secret(input))
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            descriptor: try file.takeDescriptor(), protocolVersion: try file.take(),
            cuts: try file.take(), input: try file.takeSecret())
    }
}

extension CarriedContents: FileElement {
    static var least: Int { 5 }
    static var plural: String { "files" }
    /// More than a configuration of 1 MB can name.
    static var most: Int { 1 << 16 }

    func write(to file: inout FileWriter) {
        file.put(path, bytes != nil)
        if let bytes { file.put(secret: bytes, most: FileLimits.contents) }
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            path: try file.take(),
            bytes: try file.take() as Bool
                ? try file.takeSecret(most: FileLimits.contents) : nil)
    }
}

extension CarriedCounter: FileElement {
    static var least: Int { 9 }
    static var plural: String { "counters" }

    func write(to file: inout FileWriter) {
        file.put(pool, name)
        file.put(numbers: values)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            pool: try file.take(), name: try file.take(),
            values: try file.takeNumbers(of: "values"))
    }
}

extension CarriedAddress: FileValue {
    static var least: Int { 6 }

    func write(to file: inout FileWriter) { file.put(Name(host), port) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(host: try file.takeName(), port: try file.take())
    }
}

extension CarriedMap.Node: FileElement {
    static var least: Int { 20 }
    static var plural: String { "nodes" }
    static var most: Int { Int(UInt16.max) }

    func write(to file: inout FileWriter) {
        file.put(Name(id), address, isPrimary, primaryID.map { Name($0) }, epoch)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            id: try file.takeName(), address: try file.take(), isPrimary: try file.take(),
            primaryID: try file.takeOptionalName(), epoch: try file.take())
    }
}

extension CarriedMap.Slots: FileElement {
    static var least: Int { 6 }
    static var plural: String { "ranges of slots" }
    static var most: Int { CarriedMap.slotCount }

    func write(to file: inout FileWriter) { file.put(first, last, node) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(first: try file.take(), last: try file.take(), node: try file.take())
    }
}

extension CarriedMap: FileValue {
    static let slotCount = 16_384

    static var least: Int { 20 }

    func write(to file: inout FileWriter) {
        file.put(version, nodes, slots, scanNumbers.map { Name($0) })
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(version: try file.take(), nodes: try file.take(), slots: try file.take())
        scanNumbers = (try file.take() as [Name]).map(\.bytes)
    }
}

extension CarriedTopology: FileElement {
    static var least: Int { 25 }
    static var plural: String { "topologies" }

    func write(to file: inout FileWriter) {
        file.put(pool)
        switch source {
        case .primary(let primary):
            file.put(word: "primary")
            file.put(primary.address, primary.epoch)
        case .cluster(let map):
            file.put(word: "cluster")
            file.put(map)
        }
    }

    init(from file: inout FileReader) throws(HandOverError) {
        let pool: String = try file.take()
        switch try file.takeWord() {
        case "primary":
            let primary = CarriedPrimary(address: try file.take(), epoch: try file.take())
            self.init(pool: pool, source: .primary(primary))
        case "cluster": self.init(pool: pool, source: .cluster(try file.take()))
        case let word: throw .unknownWord(word, of: "source of servers")
        }
    }
}
