// Memory for what a TLS connection has to keep, and a cursor over the pieces of a vectored write.

/// Bytes that wait. Holds no memory while empty.
struct KeptBytes: ~Copyable {
    private var memory: UnsafeMutableRawPointer?
    private var size = 0
    private var start = 0
    private(set) var count = 0

    /// The first byte; nil when empty.
    var bytes: UnsafeMutableRawPointer? { count == 0 ? nil : memory.map { $0 + start } }

    mutating func append(_ source: UnsafeRawPointer, _ wanted: Int) {
        guard wanted > 0 else { return }
        if memory == nil || start + count + wanted > size {
            let bigger = UnsafeMutableRawPointer.allocate(
                byteCount: count + wanted, alignment: 16)
            if let bytes { bigger.copyMemory(from: bytes, byteCount: count) }
            memory?.deallocate()
            memory = bigger
            size = count + wanted
            start = 0
        }
        if let memory { (memory + start + count).copyMemory(from: source, byteCount: wanted) }
        count += wanted
    }

    /// Removes bytes from the front.
    mutating func consume(_ gone: Int) {
        start += gone
        count -= gone
        guard count == 0 else { return }
        memory?.deallocate()
        memory = nil
        size = 0
        start = 0
    }

    deinit { memory?.deallocate() }
}

/// Goes through the pieces of a vectored write, a record's worth at a time. Small pieces are
/// joined.
struct PartCursor {
    private let parts: UnsafeMutableBufferPointer<IOPart>
    private let room: UnsafeMutableRawPointer
    private var index = 0
    private var offset = 0

    /// - Parameter room: memory of one record's size.
    init(_ parts: UnsafeMutableBufferPointer<IOPart>, joiningIn room: UnsafeMutableRawPointer) {
        self.parts = parts
        self.room = room
    }

    /// The next bytes, at most a record's worth; nil at the end. They stay until `advance`.
    func next() -> UnsafeRawBufferPointer? {
        guard index < parts.count else { return nil }
        let left = parts[index].count - offset
        if left >= TLSScratch.recordSize || index == parts.count - 1 {
            return UnsafeRawBufferPointer(
                start: parts[index].base.map { $0 + offset },
                count: min(left, TLSScratch.recordSize))
        }
        var joined = 0
        var position = (index: index, offset: offset)
        while position.index < parts.count, joined < TLSScratch.recordSize {
            let part = parts[position.index]
            let count = min(part.count - position.offset, TLSScratch.recordSize - joined)
            if count > 0, let base = part.base {
                (room + joined).copyMemory(from: base + position.offset, byteCount: count)
                joined += count
            }
            position = (position.index + 1, 0)
        }
        return UnsafeRawBufferPointer(start: room, count: joined)
    }

    /// Moves behind the next `count` bytes.
    mutating func advance(_ count: Int) {
        var left = count
        while index < parts.count {
            let size = parts[index].count - offset
            if left < size {
                offset += left
                return
            }
            left -= size
            index += 1
            offset = 0
        }
    }
}
