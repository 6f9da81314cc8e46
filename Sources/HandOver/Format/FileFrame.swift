// The frame of a hand-over file: the header, and where its sections are.

/// What a section has.
enum SectionTag: CaseIterable, Equatable {
    case process, configuration, first, listeners, cell, counters, callers, topology, tickets
    case files, secrets

    /// Room for a word, in bytes. What is left of it is zeros.
    static let longest = 16

    var word: String {
        switch self {
        case .process: "process"
        case .configuration: "configuration"
        case .first: "first"
        case .listeners: "listeners"
        case .cell: "cell"
        case .counters: "counters"
        case .callers: "callers"
        case .topology: "topology"
        case .tickets: "tickets"
        case .files: "files"
        case .secrets: "secrets"
        }
    }

    /// Whether a file may have several.
    var isRepeated: Bool { self == .cell }

    /// Whether every file has it.
    var isNecessary: Bool {
        switch self {
        case .process, .configuration, .listeners, .callers, .files, .secrets: true
        case .first, .cell, .counters, .topology, .tickets: false
        }
    }
}

/// What whoever reads a section has to know.
struct SectionFlags: OptionSet {
    let rawValue: UInt32
    /// Whoever does not know it refuses the file.
    static let required = SectionFlags(rawValue: 1)
    /// It is blanked when it is not needed any more.
    static let secret = SectionFlags(rawValue: 2)
}

/// A section of a file.
struct FileSection {
    /// Nil for one that this version does not know, and need not.
    let tag: SectionTag?
    let name: String
    let flags: SectionFlags
    let range: Range<Int>
}

/// The header and the sections.
///
///     0  RPHO              12  oldest reader    24  length of the file
///     4  CRC-32C           16  sections         32  zeros
///     8  version           20  zeros            64  the first section
///
/// The checksum is that of all bytes behind it. A section is its tag in 16 bytes, its flags in 4, 4
/// zeros, its length in 8, and its bytes.
struct FileFrame {
    var sections: [FileSection] = []

    static let magic = Array("RPHO".utf8)
    static let headerLength = 64
    static let sectionLength = 32

    /// Reads the frame, and checks everything that concerns the file as a whole.
    init(_ bytes: Span<UInt8>) throws(HandOverError) {
        guard bytes.count >= FileFrame.headerLength,
            FileFrame.magic.indices.allSatisfy({ bytes[$0] == FileFrame.magic[$0] })
        else { throw .notHandOver }
        let version: UInt32 = bytes.number(8)
        let oldest: UInt32 = bytes.number(12)
        guard HandOverFile.readable.contains(version), oldest <= HandOverFile.version else {
            throw .version(version)
        }
        let length: UInt64 = bytes.number(24)
        guard length == UInt64(bytes.count) else {
            throw .length(UInt64(bytes.count), says: length)
        }
        guard length <= HandOverFile.mostBytes else { throw .tooLong(length) }
        let count: UInt32 = bytes.number(16)
        guard count <= HandOverFile.mostSections else { throw .tooManySections(count) }
        let sum: UInt32 = bytes.number(4)
        guard sum == FileFrame.checksum(of: bytes) else { throw .checksum }
        var position = FileFrame.headerLength
        for _ in 0..<count {
            let section = try FileFrame.section(bytes, position)
            position = section.range.upperBound
            sections.append(section)
        }
        guard position == bytes.count else { throw .goesOn(section: "of sections") }
        try checkTags()
    }

    static func checksum(of bytes: Span<UInt8>) -> UInt32 {
        var sum = Checksum()
        sum.add(bytes.extracting(8..<bytes.count))
        return sum.value
    }

    private static func section(
        _ bytes: Span<UInt8>, _ start: Int
    ) throws(HandOverError) -> FileSection {
        guard bytes.count - start >= sectionLength else {
            throw .endsInMiddle(section: "of sections")
        }
        var tag: [UInt8] = []
        for place in 0..<SectionTag.longest where bytes[start + place] != 0 {
            tag.append(bytes[start + place])
        }
        guard let name = String(validating: tag, as: UTF8.self), !name.isEmpty else {
            throw .notText(section: "of sections")
        }
        let flags = SectionFlags(rawValue: bytes.number(start + 16))
        let length: UInt64 = bytes.number(start + 24)
        let body = start + sectionLength
        guard length <= UInt64(bytes.count - body) else { throw .endsInMiddle(section: name) }
        let known = SectionTag.allCases.first { $0.word == name }
        if known == nil, flags.contains(.required) { throw .unknownSection(name) }
        return FileSection(
            tag: known, name: name, flags: flags, range: body..<(body + Int(length)))
    }

    private func checkTags() throws(HandOverError) {
        for tag in SectionTag.allCases {
            let count = sections.count { $0.tag == tag }
            if count == 0, tag.isNecessary { throw .missingSection(tag.word) }
            if count > 1, !tag.isRepeated { throw .repeatedSection(tag.word) }
        }
    }

    /// The section with this tag, which every file has.
    func section(_ tag: SectionTag) throws(HandOverError) -> FileSection {
        guard let section = self[tag] else { throw .missingSection(tag.word) }
        return section
    }

    /// The section with this tag; nil if there is none.
    subscript(tag: SectionTag) -> FileSection? { sections.first { $0.tag == tag } }
}

extension Span<UInt8> {
    /// The number at a position, which has to be within the span with all its bytes.
    fileprivate func number<Number: FixedWidthInteger>(_ position: Int) -> Number {
        var value: UInt64 = 0
        for place in 0..<(Number.bitWidth / 8) {
            value |= UInt64(self[position + place]) << UInt64(8 * place)
        }
        return Number(truncatingIfNeeded: value)
    }
}
