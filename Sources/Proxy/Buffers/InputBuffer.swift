// Received bytes that cannot be handled yet: an incomplete command, or commands that wait for an
// upstream. The memory is contiguous, because a frame is scanned and forwarded as one span.

/// A growable block. Holds no memory while empty. The owner must call `drop` before it drops the
/// value. The worker's pool counts what is freed.
struct InputBuffer: ~Copyable {
    private var memory: UnsafeMutableRawPointer?
    // 32 bits, because every client has these fields. A buffer holds at most what a client may send
    // ahead plus one read, 1 GB in all.
    private var size: UInt32 = 0
    private var offset: UInt32 = 0
    private var held: UInt32 = 0

    private static let smallest = 1024

    /// Size of the block in bytes.
    private(set) var capacity: Int {
        get { Int(size) }
        set { size = UInt32(newValue) }
    }

    private var start: Int {
        get { Int(offset) }
        set { offset = UInt32(newValue) }
    }

    /// Bytes held.
    private(set) var count: Int {
        get { Int(held) }
        set { held = UInt32(newValue) }
    }

    var isEmpty: Bool { held == 0 }

    /// The first unhandled byte; nil when empty.
    var bytes: UnsafeMutableRawPointer? {
        count == 0 ? nil : memory.map { $0 + start }
    }

    /// Room for at least `wanted` more bytes after those held.
    mutating func prepare(_ wanted: Int, pool: ChunkPool) -> UnsafeMutableRawBufferPointer {
        if start > 0, start + count + wanted > capacity, let memory {
            memory.copyMemory(from: memory + start, byteCount: count)
            start = 0
        }
        if count + wanted > capacity { grow(to: count + wanted, pool: pool) }
        return UnsafeMutableRawBufferPointer(
            start: memory! + start + count, count: capacity - start - count)
    }

    private mutating func grow(to wanted: Int, pool: ChunkPool) {
        var size = max(capacity, InputBuffer.smallest)
        while size < wanted { size *= 2 }
        let bigger = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        if let memory {
            bigger.copyMemory(from: memory + start, byteCount: count)
            memory.deallocate()
            pool.countFreed(capacity)
        }
        memory = bigger
        capacity = size
        start = 0
    }

    /// Adds bytes that were written into the prepared room.
    mutating func added(_ bytes: Int) {
        count += bytes
    }

    mutating func append(_ source: UnsafeRawPointer, count wanted: Int, pool: ChunkPool) {
        guard wanted > 0 else { return }
        prepare(wanted, pool: pool).baseAddress!.copyMemory(from: source, byteCount: wanted)
        count += wanted
    }

    /// Inserts bytes before those held.
    mutating func prepend(_ bytes: [UInt8], pool: ChunkPool) {
        guard !bytes.isEmpty else { return }
        let room = prepare(bytes.count, pool: pool)
        guard let base = room.baseAddress else { return }
        let front = base - count
        (front + bytes.count).copyMemory(from: front, byteCount: count)
        bytes.withUnsafeBytes { front.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        count += bytes.count
    }

    /// Removes handled bytes from the front. The memory is freed with the last of them. The handler
    /// may have dropped everything already.
    mutating func consume(_ handled: Int, pool: ChunkPool) {
        guard handled < count else {
            drop(pool: pool)
            return
        }
        count -= handled
        start += handled
    }

    mutating func drop(pool: ChunkPool) {
        guard let memory else { return }
        memory.deallocate()
        pool.countFreed(capacity)
        self.memory = nil
        capacity = 0
        start = 0
        count = 0
    }
}
