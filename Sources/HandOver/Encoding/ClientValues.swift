// A client in a file.

import Pool
import Session

extension CarriedMode: FileValue {
    static var least: Int { 8 }

    func write(to file: inout FileWriter) {
        switch self {
        case .open: file.put(word: "open")
        case .waiting(let since):
            file.put(word: "waiting")
            file.put(since)
        case .barrier: file.put(word: "barrier")
        case .exclusive: file.put(word: "exclusive")
        case .piped(let isOwed, let isBlind):
            file.put(word: "piped")
            file.put(isOwed, isBlind)
        case .loggedOut: file.put(word: "logged-out")
        case .closing(let reason):
            file.put(word: "closing")
            file.put(word: reason)
        }
    }

    init(from file: inout FileReader) throws(HandOverError) {
        switch try file.takeWord() {
        case "open": self = .open
        case "waiting": self = .waiting(since: try file.take())
        case "barrier": self = .barrier
        case "exclusive": self = .exclusive
        case "piped": self = .piped(isOwed: try file.take(), isBlind: try file.take())
        case "logged-out": self = .loggedOut
        case "closing": self = .closing(reason: try file.takeWord())
        case let word: throw .unknownWord(word, of: "state of a client")
        }
    }
}

extension CarriedCounts: FileValue {
    static var least: Int { 24 }

    func write(to file: inout FileWriter) { file.put(commands, bytesIn, bytesTaken) }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            commands: try file.take(), bytesIn: try file.take(), bytesTaken: try file.take())
    }
}

extension CarriedOutput: FileElement {
    static var least: Int { 9 }
    static var plural: String { "parts of output" }

    func write(to file: inout FileWriter) {
        switch self {
        case .bytes(let bytes):
            file.put(word: "bytes")
            file.put(Secret(bytes))
        case .block(let block, let start, let end):
            file.put(word: "block")
            file.put(block, start, end)
        }
    }

    init(from file: inout FileReader) throws(HandOverError) {
        switch try file.takeWord() {
        case "bytes": self = .bytes(try file.takeSecret())
        case "block": self = .block(try file.take(), from: try file.take(), to: try file.take())
        case let word: throw .unknownWord(word, of: "part of output")
        }
    }
}

extension CarriedMulti.Stage: FileWord {
    static var kind: String { "stage of a transaction" }

    var word: String {
        switch self {
        case .promised: "promised"
        case .sent: "sent"
        }
    }
}

extension CarriedMulti: FileValue {
    static var least: Int { 18 }

    func write(to file: inout FileWriter) {
        file.put(stage, bytes.map { Secret($0) }, members, slot, isOneSlot)
        file.put(isSpecial, isLost, isDoomed, isSilent)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self.init(
            stage: try file.take(), bytes: (try file.take() as Secret?)?.bytes,
            members: try file.take(), slot: try file.take(), isOneSlot: try file.take(),
            isSpecial: try file.take(), isLost: try file.take(), isDoomed: try file.take(),
            isSilent: try file.take())
    }
}

extension CarriedClient: FileElement {
    static var least: Int { 140 }
    static var plural: String { "clients" }

    func write(to file: inout FileWriter) {
        file.put(descriptor, serial, pool, server, listener, leavesBy, mode, session)
        file.put(connectedAt, lastActivity, counts)
        file.put(word: lastCommand)
        file.put(hasEnded, monitor)
        file.put(numbers: trackers)
        file.put(loggedOutAt, hasOldInput, isReadOnly, openMulti)
        file.put(secret: input, most: FileLimits.input)
        file.put(output)
    }

    init(from file: inout FileReader) throws(HandOverError) {
        let descriptor = try file.takeDescriptor()
        let serial: UInt64 = try file.take()
        let pool: UInt32 = try file.take()
        let server: UInt32? = try file.take()
        let listener: UInt16 = try file.take()
        let leavesBy: MonotonicTime? = try file.take()
        self.init(
            descriptor: descriptor, serial: serial, pool: pool, server: server, listener: listener,
            mode: try file.take(), session: try file.take(), connectedAt: try file.take(),
            lastActivity: try file.take())
        self.leavesBy = leavesBy
        counts = try file.take()
        lastCommand = try file.takeWord()
        hasEnded = try file.take()
        monitor = try file.take()
        trackers = try file.takeNumbers(of: "trackers")
        loggedOutAt = try file.take()
        hasOldInput = try file.take()
        isReadOnly = try file.take()
        openMulti = try file.take()
        input = try file.takeSecret(most: FileLimits.input)
        output = try file.take()
    }
}
