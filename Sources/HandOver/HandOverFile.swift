// Everything that a process hands over to its successor, as one value, and as bytes.

/// What a hand-over file says.
package struct HandOverFile: Equatable, Sendable {
    package var process: CarriedProcess
    /// The configuration in effect, as SHOW CONFIG prints it.
    package var configuration: String
    package var listeners: [CarriedListener] = []
    /// What each worker has had.
    package var cells: [CarriedCell] = []
    package var counters: [CarriedCounter] = []
    /// Who has asked for the upgrade.
    package var callers: [CarriedCaller] = []
    /// The keys of session tickets, so that clients with TLS can resume.
    package var ticketKeys: [UInt8] = []

    package init(process: CarriedProcess, configuration: String) {
        self.process = process
        self.configuration = configuration
    }

    /// The version of the format that this program writes.
    package static let version: UInt32 = 1
    /// The versions that it reads.
    package static let readable: ClosedRange<UInt32> = 1...1
    /// The most bytes of a file.
    package static let mostBytes: UInt64 = 4 << 30
    package static let mostSections: UInt32 = 256

    /// The versions that it reads, for people: `1 and 2`.
    package static var readableText: String {
        readable.map { String($0) }.joined(separator: " and ")
    }

    /// Appends the file to `bytes`. What a reader would refuse is not written.
    package func encode(into bytes: inout [UInt8]) throws(HandOverError) {
        throw .notHandOver
    }

    /// Reads a file. Nothing is allocated that the bytes do not account for.
    package static func decode(_ bytes: Span<UInt8>) throws(HandOverError) -> HandOverFile {
        throw .notHandOver
    }

    /// Where the parts of a file are that have secrets. They are to be overwritten with zeros once
    /// the successor has taken over.
    package static func secretParts(
        of bytes: Span<UInt8>
    ) throws(HandOverError) -> [Range<Int>] {
        throw .notHandOver
    }

    /// The same with zeros in place of passwords, keys, and bytes of clients, for a rehearsal.
    package var redacted: HandOverFile { self }
}
