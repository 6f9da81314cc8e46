// Memory for bytes in flight: chunks of three sizes, recycled by the worker. A connection owns
// chunks only while bytes are queued in it. An idle connection owns none.

import EventLoop

/// Header of a block of raw memory. The bytes follow it directly.
struct Chunk {
    var next: UnsafeMutablePointer<Chunk>?
    /// Usable bytes after the header.
    var capacity: Int
    /// Unsent bytes are those in `head ..< tail`.
    var head: Int
    var tail: Int
}

typealias ChunkPointer = UnsafeMutablePointer<Chunk>

extension UnsafeMutablePointer<Chunk> {
    /// The first usable byte.
    var bytes: UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(self) + MemoryLayout<Chunk>.stride
    }

    /// Size of the block, header included.
    var size: Int { pointee.capacity + MemoryLayout<Chunk>.stride }
}

/// A worker's free lists. Not thread-safe: each worker has its own. It is a pointer and not an
/// object: every reply uses the pool several times, and reference counting for it was a fifth of
/// all reference counting. The owner must call `destroy` before it drops the value.
struct ChunkPool {
    /// Block sizes in bytes, header included.
    static let sizes = (small: 512, medium: 4096, large: 32768)
    /// Free memory kept per size, in bytes; more is returned to the allocator.
    private static let keptBytes = 1 << 20
    /// A trim takes time; it is done only after this many bytes were freed.
    private static let trimThreshold = 4 << 20
    /// While more than this is freed in a tick, a burst goes on, and what is freed is taken again.
    private static let quietBytes = 1 << 20

    private struct FreeList {
        var first: ChunkPointer?
        var count = 0
    }

    private struct State {
        var small = FreeList()
        var medium = FreeList()
        var large = FreeList()
        var references = FreeList()
        var bytesInUse = 0
        var outputBytes = 0
        /// Bytes freed since the heap was last trimmed, and as many of them at the last tick.
        var freedBytes = 0
        var freedBefore = 0
    }
    private let state: UnsafeMutablePointer<State>

    init() {
        state = .allocate(capacity: 1)
        state.initialize(to: State())
    }

    /// Bytes in chunks that are in use.
    var bytesInUse: Int { state.pointee.bytesInUse }
    /// The part of `bytesInUse` that waits for clients to read. Whole chunks are counted.
    var outputBytes: Int { state.pointee.outputBytes }

    /// Adds bytes that wait for clients to read; negative when they no longer do.
    func countOutput(_ bytes: Int) { state.pointee.outputBytes += bytes }

    /// Adds bytes that were freed outside the chunks, for `trimAfterBurst`.
    func countFreed(_ bytes: Int) { state.pointee.freedBytes += bytes }

    /// Frees all unused memory. Chunks that are still in use are leaked.
    func destroy() {
        ChunkPool.release(&state.pointee.small)
        ChunkPool.release(&state.pointee.medium)
        ChunkPool.release(&state.pointee.large)
        ChunkPool.release(&state.pointee.references)
        state.deallocate()
    }

    /// A chunk for `wanted` bytes that follow `queued` others. Small replies get small chunks,
    /// streams get large ones.
    func take(for wanted: Int, queued: Int) -> ChunkPointer {
        let header = MemoryLayout<Chunk>.stride
        let expected = wanted + queued
        if expected <= ChunkPool.sizes.small - header {
            return take(&state.pointee.small, ChunkPool.sizes.small)
        }
        if expected <= ChunkPool.sizes.medium - header {
            return take(&state.pointee.medium, ChunkPool.sizes.medium)
        }
        return take(&state.pointee.large, ChunkPool.sizes.large)
    }

    /// A chunk with room for exactly `room` bytes.
    func take(exactly room: Int) -> ChunkPointer {
        var none = FreeList()
        return take(&none, room + MemoryLayout<Chunk>.stride)
    }

    /// A node for a part of a shared block. It counts as output until it is given back.
    func takeReference() -> ChunkPointer {
        let size = MemoryLayout<BlockReference>.stride
        countOutput(size)
        return take(&state.pointee.references, size)
    }

    /// Returns a node of `takeReference` to its list.
    func giveReference(_ node: ChunkPointer) {
        let size = MemoryLayout<BlockReference>.stride
        countOutput(-size)
        state.pointee.bytesInUse -= size
        state.pointee.freedBytes += ChunkPool.give(node, to: &state.pointee.references, size)
    }

    private func take(_ list: inout FreeList, _ size: Int) -> ChunkPointer {
        state.pointee.bytesInUse += size
        if let chunk = list.first {
            list.first = chunk.pointee.next
            list.count -= 1
            chunk.pointee.next = nil
            return chunk
        }
        let raw = UnsafeMutableRawPointer.allocate(
            byteCount: size, alignment: MemoryLayout<Chunk>.alignment)
        let chunk = raw.bindMemory(to: Chunk.self, capacity: 1)
        chunk.initialize(
            to: Chunk(
                next: nil, capacity: size - MemoryLayout<Chunk>.stride, head: 0, tail: 0))
        return chunk
    }

    /// Returns a chunk to the list of its size. One of another size is freed.
    func give(_ chunk: ChunkPointer) {
        let size = chunk.size
        state.pointee.bytesInUse -= size
        chunk.pointee.head = 0
        chunk.pointee.tail = 0
        let freed =
            switch size {
            case ChunkPool.sizes.small: ChunkPool.give(chunk, to: &state.pointee.small, size)
            case ChunkPool.sizes.medium: ChunkPool.give(chunk, to: &state.pointee.medium, size)
            case ChunkPool.sizes.large: ChunkPool.give(chunk, to: &state.pointee.large, size)
            default: ChunkPool.free(chunk, size)
            }
        state.pointee.freedBytes += freed
    }

    /// Trims the heap after a burst. Without it the allocator keeps the freed memory, because a few
    /// live blocks lie above it. Called with every tick.
    func trimAfterBurst() {
        let freed = state.pointee.freedBytes
        let isQuiet = freed - state.pointee.freedBefore < ChunkPool.quietBytes
        state.pointee.freedBefore = freed
        guard freed >= ChunkPool.trimThreshold, isQuiet, bytesInUse < ChunkPool.keptBytes
        else { return }
        state.pointee.freedBytes = 0
        state.pointee.freedBefore = 0
        System.trimHeap()
    }

    /// Keeps a chunk for later use, or frees it. Returns the number of freed bytes.
    private static func give(_ chunk: ChunkPointer, to list: inout FreeList, _ size: Int) -> Int {
        if list.count * size >= keptBytes { return free(chunk, size) }
        chunk.pointee.next = list.first
        list.first = chunk
        list.count += 1
        return 0
    }

    /// Frees a chunk. Returns its size.
    private static func free(_ chunk: ChunkPointer, _ size: Int) -> Int {
        UnsafeMutableRawPointer(chunk).deallocate()
        return size
    }

    private static func release(_ list: inout FreeList) {
        while let chunk = list.first {
            list.first = chunk.pointee.next
            UnsafeMutableRawPointer(chunk).deallocate()
        }
        list.count = 0
    }
}
