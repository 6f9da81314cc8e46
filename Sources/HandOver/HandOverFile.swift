// Everything that a process hands over to its successor, as one value, and as bytes.

/// What a hand-over file says.
package struct HandOverFile: Equatable, Sendable {
    package var process: CarriedProcess
    /// The text of the configuration in effect.
    package var configuration: String
    /// That which the process was started with, whose keys that need a restart are in effect; nil
    /// if it is the same.
    package var first: String?
    package var listeners: [CarriedListener] = []
    /// What each worker has had.
    package var cells: [CarriedCell] = []
    package var counters: [CarriedCounter] = []
    /// Who has asked for the upgrade.
    package var callers: [CarriedCaller] = []
    /// Of pools with Sentinels, and of those in front of a cluster.
    package var topologies: [CarriedTopology] = []
    /// The keys of session tickets, so that clients with TLS can resume.
    package var ticketKeys: [UInt8] = []
    /// What the files have that the configuration names. None in a rehearsal.
    package var files: [CarriedContents] = []

    package init(process: CarriedProcess, configuration: String) {
        self.process = process
        self.configuration = configuration
    }

    /// The version of the format that this program writes.
    package static let version: UInt32 = 1
    /// The versions that it reads.
    package static let readable: ClosedRange<UInt32> = 1...1
    /// The oldest version whose programs read what this one writes.
    static let oldestReader: UInt32 = 1
    /// The most bytes of a file.
    package static let mostBytes: UInt64 = 4 << 30
    package static let mostSections: UInt32 = 256

    /// The versions that it reads, for people: `1 and 2`.
    package static var readableText: String {
        readable.map { String($0) }.joined(separator: " and ")
    }
}

// MARK: - Writing

extension HandOverFile {
    /// Appends the file to `bytes`. What a reader would refuse is not written: `bytes` is then as
    /// it was.
    package func encode(into bytes: inout [UInt8]) throws(HandOverError) {
        try check()
        let before = bytes.count
        var file = FileWriter(into: bytes)
        bytes = []
        file.header()
        writeSections(to: &file)
        if UInt64(file.bytes.count - before) > HandOverFile.mostBytes {
            file.fail(.tooLong(UInt64(file.bytes.count - before)))
        }
        if file.sections > HandOverFile.mostSections {
            file.fail(.tooManySections(file.sections))
        }
        let failure = file.failure
        if failure == nil { file.finishHeader(at: before) }
        bytes = file.takeBytes(upTo: failure == nil ? nil : before)
        if let failure { throw failure }
    }

    private func writeSections(to file: inout FileWriter) {
        file.section(.process, flags: .required) { $0.put(process) }
        file.section(.configuration, flags: .required) {
            $0.put(text: configuration, most: FileLimits.configuration)
        }
        if let first {
            file.section(.first, flags: []) { $0.put(text: first, most: FileLimits.configuration) }
        }
        file.section(.listeners, flags: .required) { $0.put(listeners) }
        for cell in cells { file.section(.cell, flags: .required) { $0.put(cell) } }
        file.section(.callers, flags: .required) { $0.put(callers) }
        file.section(.counters, flags: []) { $0.put(counters) }
        file.section(.topology, flags: []) { $0.put(topologies) }
        file.section(.tickets, flags: []) { $0.put(Secret(ticketKeys)) }
        file.section(.files, flags: .required) { $0.put(files) }
        file.secretSection()
    }
}

// MARK: - Reading

extension HandOverFile {
    /// Reads a file. Nothing is allocated that the bytes do not account for.
    package static func decode(_ bytes: Span<UInt8>) throws(HandOverError) -> HandOverFile {
        let frame = try FileFrame(bytes)
        // The bytes are used within the call only.
        let file = unsafe try bytes.withUnsafeBytes {
            (raw) throws(HandOverError) -> HandOverFile in unsafe try read(raw, frame)
        }
        try file.check()
        return file
    }

    private static func read(
        _ bytes: UnsafeRawBufferPointer, _ frame: FileFrame
    ) throws(HandOverError) -> HandOverFile {
        var file = unsafe FileReader(bytes, secrets: try frame.section(.secrets).range)
        let process: CarriedProcess = try file.read(try frame.section(.process))
        file.enter(try frame.section(.configuration))
        let configuration = try file.takeText(most: FileLimits.configuration)
        try file.finish()
        var read = HandOverFile(process: process, configuration: configuration)
        if let section = frame[.first] {
            file.enter(section)
            read.first = try file.takeText(most: FileLimits.configuration)
            try file.finish()
        }
        read.listeners = try file.read(try frame.section(.listeners))
        for section in frame.sections where section.tag == .cell {
            read.cells.append(try file.read(section))
        }
        read.callers = try file.read(try frame.section(.callers))
        if let section = frame[.counters] { read.counters = try file.read(section) }
        if let section = frame[.topology] { read.topologies = try file.read(section) }
        if let section = frame[.tickets] {
            read.ticketKeys = (try file.read(section) as Secret).bytes
        }
        read.files = try file.read(try frame.section(.files))
        try file.finishSecrets()
        return read
    }

    /// Where the parts of a file are that have secrets. They are to be overwritten with zeros once
    /// the successor has taken over; what is left is no file then.
    package static func secretParts(
        of bytes: Span<UInt8>
    ) throws(HandOverError) -> [Range<Int>] {
        try FileFrame(bytes).sections.filter { $0.flags.contains(.secret) }.map(\.range)
    }
}

// MARK: - Without secrets

extension HandOverFile {
    /// The same with zeros in place of passwords, keys, and bytes that clients have sent or are to
    /// get, for a rehearsal.
    package var redacted: HandOverFile {
        var redacted = self
        redacted.cells = cells.map(\.redacted)
        for index in callers.indices { redacted.callers[index].input.blank() }
        redacted.ticketKeys.blank()
        for index in files.indices { redacted.files[index].bytes?.blank() }
        return redacted
    }
}

extension CarriedCell {
    fileprivate var redacted: CarriedCell {
        var cell = self
        for pool in pools.indices {
            for user in pools[pool].users.indices { cell.pools[pool].users[user].password.blank() }
        }
        for index in upstreams.indices {
            cell.upstreams[index].unsent.blank()
            cell.upstreams[index].partial.blank()
        }
        for index in clients.indices {
            cell.clients[index].input.blank()
            cell.clients[index].openMulti?.bytes?.blank()
            cell.clients[index].output = clients[index].output.map { part in
                guard case .bytes(var bytes) = part else { return part }
                bytes.blank()
                return .bytes(bytes)
            }
        }
        for index in blocks.indices { cell.blocks[index].blank() }
        return cell
    }
}

extension [UInt8] {
    /// As many zeros.
    fileprivate mutating func blank() { self = [UInt8](repeating: 0, count: count) }
}
