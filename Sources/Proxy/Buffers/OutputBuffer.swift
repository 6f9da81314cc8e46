// Bytes on their way to a socket: a chain of chunks that is filled during a loop iteration and
// written once at its end.

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
        let chunk = pool.take(for: wanted, queued: count)
        pool.countOutput(chunk.size)
        if let tail = last { tail.pointee.next = chunk } else { first = chunk }
        last = chunk
    }

    /// Writes as much as the socket accepts. An empty buffer frees its memory. With TLS, bytes that
    /// were taken may still have to be written: then the result is not `empty`.
    mutating func flush(to channel: borrowing Channel, pool: ChunkPool) -> FlushResult {
        guard count > 0 else { return .drained(channel.drain()) }
        repeat {
            let offered: Int
            let written: Int
            if let chunk = first, chunk.pointee.next == nil {
                offered = chunk.pointee.tail - chunk.pointee.head
                written = channel.offer(chunk.bytes + chunk.pointee.head, count: offered)
            } else {
                (offered, written) = sendChain(
                    from: first, offset: first?.pointee.head ?? 0, to: channel)
            }
            guard written == offered else { return stopped(written, of: offered, pool: pool) }
            consume(written, pool: pool)
        } while count > 0
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
        while let chunk = first {
            let size = chunk.pointee.tail - chunk.pointee.head
            if left < size {
                chunk.pointee.head += left
                return
            }
            left -= size
            first = chunk.pointee.next
            if first == nil { last = nil }
            chunk.pointee.next = nil
            pool.countOutput(-chunk.size)
            pool.give(chunk)
        }
    }

    /// Releases everything.
    mutating func drop(pool: ChunkPool) {
        consume(count, pool: pool)
    }
}

/// The most pieces of one vectored write.
private let partsPerWrite = 32

/// Writes a chain of chunks to a socket with one system call, starting at `offset` in the first
/// chunk. Returns the number of bytes offered, and what `Channel.offer` says.
func sendChain(
    from first: ChunkPointer?, offset: Int, to channel: borrowing Channel
) -> (offered: Int, written: Int) {
    withUnsafeTemporaryAllocation(of: IOPart.self, capacity: partsPerWrite) { parts in
        var used = 0
        var offered = 0
        var next = first
        var offset = offset
        while let chunk = next, used < parts.count {
            let size = chunk.pointee.tail - offset
            parts.initializeElement(at: used, to: IOPart(base: chunk.bytes + offset, count: size))
            used += 1
            offered += size
            next = chunk.pointee.next
            offset = next?.pointee.head ?? 0
        }
        let written = channel.offer(UnsafeMutableBufferPointer(rebasing: parts[..<used]))
        return (offered, written)
    }
}
