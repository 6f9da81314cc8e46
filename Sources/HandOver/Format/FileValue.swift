// What can stand in a hand-over file: numbers, texts, bytes, words, and what consists of them.

import Pool

/// A value that writes itself, and reads itself again.
protocol FileValue {
    /// The fewest bytes that one takes: so many of them cannot be where fewer bytes are left.
    static var least: Int { get }
    func write(to file: inout FileWriter)
    init(from file: inout FileReader) throws(HandOverError)
}

/// A value of which there are lists.
protocol FileElement: FileValue {
    /// What several of them are called.
    static var plural: String { get }
    /// The most in one list.
    static var most: Int { get }
}

extension FileElement {
    static var most: Int { 1_000_000 }
}

/// A choice. It stands in the file as a word, so that it means the same to another version.
protocol FileWord: FileValue, CaseIterable, Equatable {
    /// What is chosen.
    static var kind: String { get }
    var word: String { get }
}

extension FileWord {
    static var least: Int { 5 }

    func write(to file: inout FileWriter) { file.put(word: word) }

    init(from file: inout FileReader) throws(HandOverError) {
        let word = try file.takeWord()
        guard let found = Self.allCases.first(where: { $0.word == word }) else {
            throw .unknownWord(word, of: Self.kind)
        }
        self = found
    }
}

// MARK: - Numbers

/// A number of fixed width, which stands in the file as its bytes.
protocol FileNumber: FileValue, FixedWidthInteger {}

extension FileNumber {
    static var least: Int { bitWidth / 8 }
    func write(to file: inout FileWriter) { file.put(number: self) }
    init(from file: inout FileReader) throws(HandOverError) { self = try file.takeNumber() }
}

extension UInt8: FileNumber {}
extension UInt16: FileNumber {}
extension UInt32: FileNumber {}
extension UInt64: FileNumber {}
extension Int32: FileNumber {}
extension Int64: FileNumber {}

extension Bool: FileValue {
    static var least: Int { 1 }
    func write(to file: inout FileWriter) { file.put(number: UInt8(self ? 1 : 0)) }

    init(from file: inout FileReader) throws(HandOverError) {
        let number: UInt8 = try file.takeNumber()
        guard number < 2 else { throw .number(UInt64(number), of: "flag") }
        self = number == 1
    }
}

/// In nanoseconds of the clock that goes on over the execution of another program.
extension MonotonicTime: FileValue {
    static var least: Int { 8 }
    func write(to file: inout FileWriter) { file.put(number: nanoseconds) }

    init(from file: inout FileReader) throws(HandOverError) {
        let nanoseconds: Int64 = try file.takeNumber()
        guard nanoseconds >= 0 else {
            throw .number(UInt64(bitPattern: nanoseconds), of: "time")
        }
        self.init(nanoseconds: nanoseconds)
    }
}

// MARK: - Texts and lists

/// A name: text or bytes of at most 64 KB.
extension String: FileValue {
    static var least: Int { 4 }
    func write(to file: inout FileWriter) { file.put(text: self, most: FileLimits.name) }

    init(from file: inout FileReader) throws(HandOverError) {
        self = try file.takeText(most: FileLimits.name)
    }
}

extension Array: FileValue where Element: FileElement {
    static var least: Int { 4 }
    func write(to file: inout FileWriter) { file.put(list: self) }
    init(from file: inout FileReader) throws(HandOverError) { self = try file.takeList() }
}

extension Optional: FileValue where Wrapped: FileValue {
    static var least: Int { 1 }

    func write(to file: inout FileWriter) {
        file.put(self != nil)
        if let self { file.put(self) }
    }

    init(from file: inout FileReader) throws(HandOverError) {
        self = try file.take() as Bool ? try file.take() as Wrapped : nil
    }
}

/// Bytes of at most 64 KB that are no secret: what a client or a server calls something.
struct Name: FileElement, Equatable {
    static var least: Int { 4 }
    static var plural: String { "names" }
    var bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func write(to file: inout FileWriter) { file.put(bytes: bytes, most: FileLimits.name) }

    init(from file: inout FileReader) throws(HandOverError) {
        bytes = try file.takeBytes(most: FileLimits.name)
    }
}

/// Bytes that are blanked after use: what clients have sent and are to get, and passwords.
struct Secret: FileElement, Equatable {
    static var least: Int { 4 }
    static var plural: String { "blocks" }
    var bytes: [UInt8]

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func write(to file: inout FileWriter) { file.put(secret: bytes, most: FileLimits.secret) }

    init(from file: inout FileReader) throws(HandOverError) {
        bytes = try file.takeSecret(most: FileLimits.secret)
    }
}

/// The longest of what a file has.
enum FileLimits {
    /// In bytes.
    static let name = 64 << 10
    static let input = 4 << 20
    static let configuration = 64 << 20
    /// What is read of a file that the configuration names is little more than 1 MB.
    static let contents = 2 << 20
    static let word = 64
    /// Output is limited by the length of the file.
    static let secret = Int(UInt32.max)
}
