// Bytes on their way to a socket: a chain that is filled during a loop iteration and written once
// at its end. Its nodes are chunks, and references to parts of shared blocks.

import EventLoop
import Glibc

/// The result of a flush.
enum FlushResult {
    /// Everything is written.
    case empty
    /// The socket accepts no more bytes for now.
    case full
    /// The connection is broken. The value is a positive errno.
    case failed(Int32)

    /// For an error of a write, as -errno.
    static func refused(_ result: Int) -> FlushResult {
        result == -Int(EAGAIN) ? .full : .failed(Int32(-result))
    }

    /// For what `Channel.drain` has returned.
    static func drained(_ result: Int) -> FlushResult { result == 0 ? .empty : refused(result) }
}

/// A node that has no bytes of its own, but refers to a part of a block. The header is the first
/// field, so that a pointer to it is a pointer to the whole. Its `capacity` is 0, which no chunk's
/// is, and so is its `tail`: it has no room. Its `head` is the first unsent byte in the block.
struct BlockReference {
    var header: Chunk
    let block: SharedBlock
    /// The end of the part in the block.
    var end: Int
}

extension UnsafeMutablePointer<Chunk> {
    fileprivate var isReference: Bool { pointee.capacity == 0 }

    /// The whole of a node that is a reference.
    fileprivate var reference: UnsafeMutablePointer<BlockReference> {
        UnsafeMutableRawPointer(self).assumingMemoryBound(to: BlockReference.self)
    }

    /// The bytes of this node from `offset` on.
    @inline(__always)
    fileprivate func part(from offset: Int) -> (start: UnsafeMutableRawPointer, count: Int) {
        if isReference {
            (reference.pointee.block.bytes + offset, reference.pointee.end - offset)
        } else {
            (bytes + offset, pointee.tail - offset)
        }
    }
}

/// A queue of bytes. Holds no memory while empty. The owner must call `drop` before it drops the
/// value.
struct OutputBuffer: ~Copyable {
    private var first: ChunkPointer?
    private var last: ChunkPointer?
    /// Unsent bytes.
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// Copies bytes to the end.
    mutating func append(_ source: UnsafeRawPointer, count wanted: Int, pool: ChunkPool) {
        var source = source
        var left = wanted
        while left > 0 {
            if last == nil || last!.pointee.tail == last!.pointee.capacity {
                grow(for: left, pool: pool)
            }
            let chunk = last!
            let taken = min(left, chunk.pointee.capacity - chunk.pointee.tail)
            (chunk.bytes + chunk.pointee.tail).copyMemory(from: source, byteCount: taken)
            chunk.pointee.tail += taken
            source += taken
            left -= taken
            count += taken
        }
    }

    mutating func append(_ bytes: [UInt8], pool: ChunkPool) {
        bytes.withUnsafeBytes { raw in
            if let base = raw.baseAddress { append(base, count: raw.count, pool: pool) }
        }
    }

    mutating func append(_ text: StaticString, pool: ChunkPool) {
        append(text.utf8Start, count: text.utf8CodeUnitCount, pool: pool)
    }

    private mutating func grow(for wanted: Int, pool: ChunkPool) {
        let chunk: ChunkPointer
        if let tail = last {
            // What waits in blocks says nothing of the bytes behind it.
            chunk = pool.take(for: wanted, queued: tail.isReference ? 0 : count)
            tail.pointee.next = chunk
        } else {
            chunk = pool.take(for: wanted, queued: 0)
            first = chunk
        }
        pool.countOutput(chunk.size)
        last = chunk
    }

    /// Adds a part of a block, without its bytes.
    mutating func append(_ part: BlockPart, pool: ChunkPool) {
        count += part.count
        if isFollowed(by: part), let last {
            last.reference.pointee.end = part.end
            return
        }
        part.block.retain()
        let node = pool.takeReference()
        node.reference.initialize(
            to: BlockReference(
                header: Chunk(next: nil, capacity: 0, head: part.start, tail: 0),
                block: part.block, end: part.end))
        if let tail = last { tail.pointee.next = node } else { first = node }
        last = node
    }

    /// The same where the bytes may wait for long. They would keep a whole block for each short
    /// part that does not follow the last one, so of such a part there is a copy.
    mutating func append(_ part: BlockPart, waitsLong: Bool, pool: ChunkPool) {
        if waitsLong, part.count <= OutputBuffer.mostCopied, !isFollowed(by: part) {
            append(part.block.bytes + part.start, count: part.count, pool: pool)
        } else {
            append(part, pool: pool)
        }
    }

    /// The longest part that is copied, in bytes: a longer one keeps at most eight times its
    /// length.
    private static let mostCopied = 4096

    /// The last bytes are those that stand before a part in its block.
    private func isFollowed(by part: BlockPart) -> Bool {
        guard let last, last.isReference else { return false }
        return last.reference.pointee.block == part.block
            && last.reference.pointee.end == part.start
    }

    /// Moves everything of another buffer to the end of this one.
    mutating func append(all other: inout OutputBuffer) {
        guard let node = other.first else { return }
        if let tail = last { tail.pointee.next = node } else { first = node }
        last = other.last
        count += other.count
        other.first = nil
        other.last = nil
        other.count = 0
    }

    /// Writes as much as the socket accepts. An empty buffer frees its memory. With TLS, bytes that
    /// were taken may still have to be written: then the result is not `empty`.
    mutating func flush(to channel: borrowing Channel, pool: ChunkPool) -> FlushResult {
        guard var node = first else { return .drained(channel.drain()) }
        while node.pointee.next != nil {
            let (offered, written) = sendChain(from: node, offset: node.pointee.head, to: channel)
            guard written == offered else { return stopped(written, of: offered, pool: pool) }
            consume(written, pool: pool)
            guard let next = first else { return .empty }
            node = next
        }
        let part = node.part(from: node.pointee.head)
        let written = channel.offer(part.start, count: part.count)
        guard written == part.count else { return stopped(written, of: part.count, pool: pool) }
        first = nil
        last = nil
        count = 0
        give(node, pool: pool)
        return .empty
    }

    /// Not everything that was offered is sent.
    @inline(never)
    private mutating func stopped(
        _ written: Int, of offered: Int, pool: ChunkPool
    ) -> FlushResult {
        if written < 0 { return .refused(written) }
        consume(min(written, offered), pool: pool)
        return .full
    }

    private mutating func consume(_ written: Int, pool: ChunkPool) {
        var left = written
        count -= written
        while let node = first {
            let size = node.part(from: node.pointee.head).count
            if left < size {
                node.pointee.head += left
                return
            }
            left -= size
            first = node.pointee.next
            if first == nil { last = nil }
            give(node, pool: pool)
        }
    }

    /// Gives back a node that has left the chain.
    @inline(__always)
    private func give(_ node: ChunkPointer, pool: ChunkPool) {
        node.pointee.next = nil
        if node.isReference {
            node.reference.pointee.block.release(pool: pool)
            pool.giveReference(node)
        } else {
            pool.countOutput(-node.size)
            pool.give(node)
        }
    }

    /// A copy of all unsent bytes.
    func copy() -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        var next = first
        while let node = next {
            let part = node.part(from: node.pointee.head)
            bytes.append(contentsOf: UnsafeRawBufferPointer(start: part.start, count: part.count))
            next = node.pointee.next
        }
        return bytes
    }

    /// Releases everything.
    mutating func drop(pool: ChunkPool) {
        consume(count, pool: pool)
    }
}

/// The most pieces of one vectored write.
private let partsPerWrite = 32

/// Writes a chain to a socket with one system call, starting at `offset` in the first
/// node. Returns the number of bytes offered, and what `Channel.offer` says.
func sendChain(
    from first: ChunkPointer?, offset: Int, to channel: borrowing Channel
) -> (offered: Int, written: Int) {
    withUnsafeTemporaryAllocation(of: IOPart.self, capacity: partsPerWrite) { parts in
        var used = 0
        var offered = 0
        var next = first
        var offset = offset
        while let node = next, used < parts.count {
            let part = node.part(from: offset)
            parts.initializeElement(at: used, to: IOPart(base: part.start, count: part.count))
            used += 1
            offered += part.count
            next = node.pointee.next
            offset = next?.pointee.head ?? 0
        }
        let written = channel.offer(UnsafeMutableBufferPointer(rebasing: parts[..<used]))
        return (offered, written)
    }
}
