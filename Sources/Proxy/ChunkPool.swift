// Memory for bytes in flight: chunks of three sizes, recycled by the worker. A connection owns
// chunks only while bytes wait in it; an idle one owns none.

import EventLoop

/// Header of a block of raw memory; the bytes follow it directly.
struct Chunk {
    var next: UnsafeMutablePointer<Chunk>?
    /// Usable bytes behind the header.
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

    /// What the block takes, header included.
    var size: Int { pointee.capacity + MemoryLayout<Chunk>.stride }
}

/// A worker's free lists. Not thread-safe: one worker, one pool.
final class ChunkPool {
    /// Whole sizes, header included.
    private static let sizes = (small: 512, medium: 4096, large: 32768)
    /// Free memory kept per size; the rest goes back to the system.
    private static let keptBytes = 1 << 20

    private struct FreeList {
        var first: ChunkPointer?
        var count = 0
    }
    private var small = FreeList()
    private var medium = FreeList()
    private var large = FreeList()
    /// Bytes handed out and not yet given back.
    private(set) var bytesInUse = 0
    /// The part of them that waits for clients to read, whole chunks counted.
    var outputBytes = 0
    /// Bytes freed since the heap was last trimmed.
    private var freedBytes = 0
    /// So much has to be free for a trim to be worth its time.
    private static let trimThreshold = 4 << 20

    deinit {
        ChunkPool.release(&small)
        ChunkPool.release(&medium)
        ChunkPool.release(&large)
    }

    /// A chunk for `wanted` bytes that follow `queued` others: small answers stay in small chunks,
    /// streams get large ones.
    func take(for wanted: Int, queued: Int) -> ChunkPointer {
        let header = MemoryLayout<Chunk>.stride
        let expected = wanted + queued
        if expected <= ChunkPool.sizes.small - header { return take(&small, ChunkPool.sizes.small) }
        if expected <= ChunkPool.sizes.medium - header {
            return take(&medium, ChunkPool.sizes.medium)
        }
        return take(&large, ChunkPool.sizes.large)
    }

    private func take(_ list: inout FreeList, _ size: Int) -> ChunkPointer {
        bytesInUse += size
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

    /// Takes a chunk back.
    func give(_ chunk: ChunkPointer) {
        let size = chunk.size
        bytesInUse -= size
        chunk.pointee.head = 0
        chunk.pointee.tail = 0
        switch size {
        case ChunkPool.sizes.small: freedBytes += ChunkPool.give(chunk, to: &small, size)
        case ChunkPool.sizes.medium: freedBytes += ChunkPool.give(chunk, to: &medium, size)
        default: freedBytes += ChunkPool.give(chunk, to: &large, size)
        }
    }

    /// Once a burst is over: gives what it has freed back to the system. The allocator keeps it
    /// otherwise, as a few blocks that live on are in its way.
    func trimAfterBurst() {
        guard freedBytes >= ChunkPool.trimThreshold, bytesInUse < ChunkPool.keptBytes else {
            return
        }
        freedBytes = 0
        System.trimHeap()
    }

    /// Keeps a chunk for later, or frees it; how many bytes were freed.
    private static func give(
        _ chunk: ChunkPointer, to list: inout FreeList, _ size: Int
    ) -> Int {
        if list.count * size >= keptBytes {
            UnsafeMutableRawPointer(chunk).deallocate()
            return size
        }
        chunk.pointee.next = list.first
        list.first = chunk
        list.count += 1
        return 0
    }

    private static func release(_ list: inout FreeList) {
        while let chunk = list.first {
            list.first = chunk.pointee.next
            UnsafeMutableRawPointer(chunk).deallocate()
        }
        list.count = 0
    }
}
