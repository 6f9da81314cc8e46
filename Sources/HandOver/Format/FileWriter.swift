// Writes a hand-over file into growing memory.

/// The bytes of a file in the making.
struct FileWriter {
    private(set) var bytes: [UInt8] = []
    /// What is blanked when it is not needed any more. It stands together at the file's end; where
    /// it belongs there is only its length. The arrays are those of the values: no copy is made.
    private(set) var secrets: [[UInt8]] = []
    /// The first thing that a reader would refuse.
    private(set) var failure: HandOverError?
    private(set) var sections: UInt32 = 0

    /// Continues `bytes`, which may have something before the file.
    init(into bytes: [UInt8]) { self.bytes = bytes }

    mutating func fail(_ error: HandOverError) {
        if failure == nil { failure = error }
    }

    // MARK: Parts

    mutating func put<each Value: FileValue>(_ value: repeat each Value) {
        repeat (each value).write(to: &self)
    }

    mutating func put<Number: FixedWidthInteger>(number: Number) {
        let value = UInt64(truncatingIfNeeded: number)
        for place in 0..<(Number.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * place)))
        }
    }

    mutating func put(word: String) { put(text: word, most: FileLimits.word) }

    mutating func put(text: String, most: Int) {
        if text.utf8.count > most {
            fail(.size(UInt64(text.utf8.count), of: "text", most: most))
        }
        put(number: UInt32(truncatingIfNeeded: text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    mutating func put(bytes more: [UInt8], most: Int) {
        if more.count > most { fail(.size(UInt64(more.count), of: "name", most: most)) }
        put(number: UInt32(truncatingIfNeeded: more.count))
        bytes.append(contentsOf: more)
    }

    /// Bytes that are blanked after use.
    mutating func put(secret more: [UInt8], most: Int) {
        if more.count > most { fail(.size(UInt64(more.count), of: "secret", most: most)) }
        put(number: UInt32(truncatingIfNeeded: more.count))
        secrets.append(more)
    }

    mutating func put<Number: FixedWidthInteger>(numbers: [Number]) {
        put(number: UInt32(truncatingIfNeeded: numbers.count))
        for number in numbers { put(number: number) }
    }

    mutating func put<Element: FileElement>(list: [Element]) {
        if list.count > Element.most { fail(.count(UInt64(list.count), of: Element.plural)) }
        put(number: UInt32(truncatingIfNeeded: list.count))
        for element in list { element.write(to: &self) }
    }

    // MARK: The whole

    /// Room for the header.
    mutating func header() {
        bytes.append(contentsOf: repeatElement(0, count: FileFrame.headerLength))
    }

    /// Writes the header of the file that begins at `start`, and is complete.
    mutating func finishHeader(at start: Int) {
        for (place, byte) in FileFrame.magic.enumerated() { bytes[start + place] = byte }
        patch(HandOverFile.version, at: start + 8)
        patch(HandOverFile.oldestReader, at: start + 12)
        patch(sections, at: start + 16)
        patch(UInt64(bytes.count - start), at: start + 24)
        let sum = FileFrame.checksum(of: bytes.span.extracting(start..<bytes.count))
        patch(sum, at: start + 4)
    }

    /// Hands over what is written, all or the first bytes of it.
    mutating func takeBytes(upTo end: Int?) -> [UInt8] {
        if let end { bytes.removeSubrange(end...) }
        defer { bytes = [] }
        return bytes
    }

    // MARK: Sections

    /// A section with what `body` writes.
    mutating func section(
        _ tag: SectionTag, flags: SectionFlags, _ body: (inout FileWriter) -> Void
    ) {
        sections += 1
        let name = Array(tag.word.utf8)
        bytes.append(contentsOf: name)
        bytes.append(
            contentsOf: repeatElement(0, count: SectionTag.longest - name.count))
        put(number: flags.rawValue)
        put(number: UInt32(0))
        let place = bytes.count
        put(number: UInt64(0))
        body(&self)
        patch(UInt64(bytes.count - place - 8), at: place)
    }

    /// The section with all secrets; the last one. Memory that has some is not moved any more:
    /// that would leave a copy of them behind.
    mutating func secretSection() {
        let all = secrets
        bytes.reserveCapacity(
            bytes.count + FileFrame.sectionLength + all.reduce(0) { $0 + $1.count })
        section(.secrets, flags: [.required, .secret]) {
            for secret in all { $0.bytes.append(contentsOf: secret) }
        }
    }

    /// Writes a number over the bytes at a position.
    mutating func patch<Number: FixedWidthInteger>(_ number: Number, at place: Int) {
        let value = UInt64(truncatingIfNeeded: number)
        for index in 0..<(Number.bitWidth / 8) {
            bytes[place + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
        }
    }
}
