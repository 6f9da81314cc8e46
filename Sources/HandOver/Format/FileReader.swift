// Reads a hand-over file. Its bytes come from outside: nothing is believed, and no number makes
// anything grow beyond what the bytes account for.

/// A position in a section, and one in the secrets. It is used only while the file's bytes are
/// lent to `HandOverFile.decode`.
@safe
struct FileReader {
    private let bytes: UnsafeRawBufferPointer
    private var position: Int
    private var end: Int
    /// The part of the section that is being read, for errors.
    private var part: String
    private var secretPosition: Int
    private let secretEnd: Int

    /// Before the first section.
    ///
    /// - Parameter secrets: where they are, within `bytes`.
    init(_ bytes: UnsafeRawBufferPointer, secrets: Range<Int>) {
        unsafe self.bytes = unsafe bytes
        position = 0
        end = 0
        part = ""
        secretPosition = secrets.lowerBound
        secretEnd = secrets.upperBound
    }

    /// Goes on in another section. What is read of the secrets stays read.
    mutating func enter(_ section: FileSection) {
        position = section.range.lowerBound
        end = section.range.upperBound
        part = section.name
    }

    /// All of a section, which has one value.
    mutating func read<Value: FileValue>(_ section: FileSection) throws(HandOverError) -> Value {
        enter(section)
        let value: Value = try take()
        try finish()
        return value
    }

    /// The section has been read.
    func finish() throws(HandOverError) {
        if position != end { throw .goesOn(section: part) }
    }

    /// All sections have been read.
    func finishSecrets() throws(HandOverError) {
        if secretPosition != secretEnd { throw .goesOn(section: SectionTag.secrets.word) }
    }

    private var left: Int { end - position }

    // MARK: Parts

    mutating func take<Value: FileValue>() throws(HandOverError) -> Value {
        try Value(from: &self)
    }

    mutating func takeNumber<Number: FixedWidthInteger>() throws(HandOverError) -> Number {
        let width = Number.bitWidth / 8
        let start = try skip(width)
        var value: UInt64 = 0
        for place in 0..<width {
            // `skip` has seen that so many bytes are there.
            value |= unsafe UInt64(bytes[start + place]) << UInt64(8 * place)
        }
        return Number(truncatingIfNeeded: value)
    }

    /// Moves over so many bytes. Returns where they begin.
    private mutating func skip(_ count: Int) throws(HandOverError) -> Int {
        guard count <= left else { throw .endsInMiddle(section: part) }
        defer { position += count }
        return position
    }

    mutating func takeBytes(most: Int) throws(HandOverError) -> [UInt8] {
        let count = try takeSize(most: most, "name")
        let start = try skip(count)
        // `skip` has seen that so many bytes are there.
        return unsafe Array(bytes[start..<(start + count)])
    }

    private mutating func takeSize(most: Int, _ what: String) throws(HandOverError) -> Int {
        let size: UInt32 = try takeNumber()
        guard size <= most else { throw .size(UInt64(size), of: what, most: most) }
        return Int(size)
    }

    mutating func takeSecret(most: Int) throws(HandOverError) -> [UInt8] {
        let count = try takeSize(most: most, "secret")
        guard count <= secretEnd - secretPosition else {
            throw .endsInMiddle(section: SectionTag.secrets.word)
        }
        defer { secretPosition += count }
        return unsafe Array(bytes[secretPosition..<(secretPosition + count)])
    }

    mutating func takeText(most: Int) throws(HandOverError) -> String {
        let count = try takeSize(most: most, "text")
        let start = try skip(count)
        let part = unsafe bytes[start..<(start + count)]
        guard let text = unsafe String(validating: part, as: UTF8.self) else {
            throw .notText(section: self.part)
        }
        return text
    }

    mutating func takeWord() throws(HandOverError) -> String {
        try takeText(most: FileLimits.word)
    }

    mutating func takeSecret() throws(HandOverError) -> [UInt8] {
        try takeSecret(most: FileLimits.secret)
    }

    mutating func takeName() throws(HandOverError) -> [UInt8] {
        try takeBytes(most: FileLimits.name)
    }

    mutating func takeOptionalName() throws(HandOverError) -> [UInt8]? {
        try take() as Bool ? try takeName() : nil
    }

    /// A descriptor is 0 or more.
    mutating func takeDescriptor() throws(HandOverError) -> Int32 {
        let number: Int32 = try takeNumber()
        guard number >= 0 else {
            throw .number(UInt64(UInt32(bitPattern: number)), of: "descriptor")
        }
        return number
    }

    mutating func takeNumbers<Number: FixedWidthInteger>(
        of what: String
    ) throws(HandOverError) -> [Number] {
        let count: UInt32 = try takeNumber()
        guard Int(count) <= left / (Number.bitWidth / 8) else {
            throw .count(UInt64(count), of: what)
        }
        var numbers: [Number] = []
        for _ in 0..<count { numbers.append(try takeNumber()) }
        return numbers
    }

    mutating func takeList<Element: FileElement>() throws(HandOverError) -> [Element] {
        let count: UInt32 = try takeNumber()
        guard count <= Element.most, Int(count) <= left / max(1, Element.least) else {
            throw .count(UInt64(count), of: Element.plural)
        }
        let outer = part
        part = Element.plural
        defer { part = outer }
        var list: [Element] = []
        for _ in 0..<count { list.append(try Element(from: &self)) }
        return list
    }
}
