// Memory for what does not fit into the places.

/// Chains of chunks. A chunk is freed as soon as its bytes have been taken.
struct ParkedChunks {
    /// No chunk.
    static let none = UInt32.max

    private struct Chunk {
        var bytes: [UInt8] = []
        /// Its size in memory; 0 while it is unused.
        var size = 0
        /// The next one of the chain, or of those that are unused.
        var next = ParkedChunks.none
        /// Of the first one of a chain: the last one, and the bytes in all.
        var last = ParkedChunks.none
        var total = 0

        var room: Int { size - ParkedChunks.header - bytes.count }
    }

    /// What the allocator and the array's header take of a chunk, about.
    private static let header = 32
    private static let sizes = (small: 512, medium: 4096, large: 32768)

    private var chunks: [Chunk] = []
    private var unused = ParkedChunks.none
    /// The size of all chunks.
    private(set) var memory = 0

    /// Appends `bytes[start...]` to a chain.
    mutating func append(_ bytes: Span<UInt8>, from start: Int, to first: inout UInt32) {
        var position = start
        while position < bytes.count {
            let left = bytes.count - position
            var last = first == ParkedChunks.none ? first : chunks[Int(first)].last
            if last == ParkedChunks.none || chunks[Int(last)].room == 0 {
                last = extend(&first, by: left)
            }
            let count = min(left, chunks[Int(last)].room)
            let piece = bytes.extracting(position..<(position + count))
            unsafe piece.withUnsafeBufferPointer {
                unsafe chunks[Int(last)].bytes.append(contentsOf: $0)
            }
            chunks[Int(first)].total += count
            position += count
        }
    }

    /// Adds an empty chunk to a chain. Short replies get small ones.
    private mutating func extend(_ first: inout UInt32, by wanted: Int) -> UInt32 {
        let expected = wanted + (first == ParkedChunks.none ? 0 : chunks[Int(first)].total)
        var size = ParkedChunks.sizes.large
        if expected <= ParkedChunks.sizes.medium - ParkedChunks.header {
            size = ParkedChunks.sizes.medium
        }
        if expected <= ParkedChunks.sizes.small - ParkedChunks.header {
            size = ParkedChunks.sizes.small
        }
        var made = Chunk()
        made.size = size
        made.bytes.reserveCapacity(size - ParkedChunks.header)
        memory += size
        var place = unused
        if place == ParkedChunks.none {
            place = UInt32(chunks.count)
            chunks.append(made)
        } else {
            unused = chunks[Int(place)].next
            chunks[Int(place)] = made
        }
        if first == ParkedChunks.none {
            first = place
        } else {
            chunks[Int(chunks[Int(first)].last)].next = place
        }
        chunks[Int(first)].last = place
        return place
    }

    /// Appends the bytes of a chain's first chunk to an array, and frees the chunk.
    mutating func moveFirst(of first: inout UInt32, into output: inout [UInt8]) {
        guard first != ParkedChunks.none else { return }
        output.append(contentsOf: chunks[Int(first)].bytes)
        dropFirst(of: &first)
    }

    /// Frees a chain.
    mutating func drop(_ first: inout UInt32) {
        while first != ParkedChunks.none { dropFirst(of: &first) }
    }

    private mutating func dropFirst(of first: inout UInt32) {
        let gone = chunks[Int(first)]
        memory -= gone.size
        chunks[Int(first)] = Chunk()
        chunks[Int(first)].next = unused
        unused = first
        first = gone.next
        if first != ParkedChunks.none {
            chunks[Int(first)].last = gone.last
            chunks[Int(first)].total = gone.total - gone.bytes.count
        }
        if memory == 0 {
            chunks = []
            unused = ParkedChunks.none
        }
    }
}
