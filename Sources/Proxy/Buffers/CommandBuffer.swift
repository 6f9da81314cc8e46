// Commands on their way to the server. Bytes stay here until their replies have come. So commands
// that the server provably has not received can be sent again on another connection.

import EventLoop
import Glibc

/// A queue of bytes with two cursors: sent, and released (answered).
///
///     answered (memory given back) | sent, not answered | not sent
///                                  ^ released           ^ sent        ^ appended
///
/// The owner must call `drop` before it drops the value.
struct CommandBuffer: ~Copyable {
    /// The chunk with the first byte that is not released. The `head` of a chunk is its released
    /// part.
    private var first: ChunkPointer?
    private var last: ChunkPointer?
    /// The chunk with the first unsent byte, and its offset; nil when all bytes are sent.
    private var cursor: ChunkPointer?
    private var cursorOffset = 0

    /// Positions in the connection's outgoing stream, counted from its first byte.
    private(set) var releasedTotal: Int64 = 0
    private(set) var sentTotal: Int64 = 0
    private(set) var appendedTotal: Int64 = 0
    /// Bytes are dropped once they are sent. True for handshakes, streams and pipes, which are
    /// never sent again.
    var forgetsSent = true
    /// Released bytes of unanswered commands: there was no room to keep them.
    private(set) var forgotten: Int64 = 0
    /// The most sent bytes that are kept for sending again. Commands beyond it count as lost if the
    /// connection ends.
    static let keptLimit: Int64 = 4 << 20

    /// Bytes that are not sent yet.
    var unsent: Int { Int(appendedTotal - sentTotal) }
    var isAllSent: Bool { appendedTotal == sentTotal }

    /// Copies bytes to the end.
    mutating func append(_ source: UnsafeRawPointer, count wanted: Int, pool: ChunkPool) {
        var source = source
        var left = wanted
        while left > 0 {
            if last == nil || last!.pointee.tail == last!.pointee.capacity {
                let chunk = pool.take(for: left, queued: Int(appendedTotal - releasedTotal))
                if let tail = last { tail.pointee.next = chunk } else { first = chunk }
                last = chunk
            }
            let chunk = last!
            if cursor == nil {
                cursor = chunk
                cursorOffset = chunk.pointee.tail
            }
            let taken = min(left, chunk.pointee.capacity - chunk.pointee.tail)
            (chunk.bytes + chunk.pointee.tail).copyMemory(from: source, byteCount: taken)
            chunk.pointee.tail += taken
            source += taken
            left -= taken
            appendedTotal += Int64(taken)
        }
    }

    /// Counts bytes that went to the socket directly. The buffer must be empty.
    mutating func passed(_ count: Int) {
        releasedTotal += Int64(count)
        sentTotal += Int64(count)
        appendedTotal += Int64(count)
    }

    /// Writes as much as the socket accepts. With TLS, bytes that were taken count as sent; they
    /// may still have to be written.
    mutating func flush(to channel: borrowing Channel, pool: ChunkPool) -> FlushResult {
        guard cursor != nil else { return .drained(channel.drain()) }
        while let chunk = cursor {
            let offered: Int
            let written: Int
            if chunk.pointee.next == nil {
                offered = chunk.pointee.tail - cursorOffset
                written = channel.offer(chunk.bytes + cursorOffset, count: offered)
            } else {
                (offered, written) = sendChain(from: cursor, offset: cursorOffset, to: channel)
            }
            guard written == offered else { return stopped(written, of: offered, pool: pool) }
            advance(written)
            if forgetsSent { releaseSent(pool: pool) }
        }
        return .empty
    }

    /// Not everything that was offered is sent.
    @inline(never)
    private mutating func stopped(
        _ written: Int, of offered: Int, pool: ChunkPool
    ) -> FlushResult {
        if written < 0 { return .refused(written) }
        advance(min(written, offered))
        if forgetsSent { releaseSent(pool: pool) }
        return .full
    }

    private mutating func advance(_ written: Int) {
        sentTotal += Int64(written)
        var left = written
        while left > 0, let chunk = cursor {
            let size = chunk.pointee.tail - cursorOffset
            if left < size {
                cursorOffset += left
                return
            }
            left -= size
            cursor = chunk.pointee.next
            cursorOffset = cursor?.pointee.head ?? 0
        }
    }

    /// Releases all sent bytes.
    private mutating func releaseSent(pool: ChunkPool) {
        release(Int(sentTotal - releasedTotal), pool: pool)
    }

    /// Bounds memory for a server that takes commands and does not answer: beyond `keptLimit`, sent
    /// bytes are released before their replies have come.
    mutating func boundKept(pool: ChunkPool) {
        let kept = sentTotal - releasedTotal
        guard kept > CommandBuffer.keptLimit else { return }
        forgotten += kept
        releaseSent(pool: pool)
    }

    /// Position of the oldest unanswered command.
    var answeredTotal: Int64 { releasedTotal - forgotten }

    /// The replies to the next `count` bytes of commands have come: releases those bytes. Where
    /// sent bytes are dropped at once, these are gone already, and those that are not sent stay.
    mutating func answered(_ count: Int, pool: ChunkPool) {
        let gone = min(Int64(count), forgotten)
        forgotten -= gone
        let left = count - Int(gone)
        release(forgetsSent ? min(left, Int(sentTotal - releasedTotal)) : left, pool: pool)
    }

    /// Releases the next `count` bytes, or as many as are kept.
    private mutating func release(_ count: Int, pool: ChunkPool) {
        var left = min(count, Int(appendedTotal - releasedTotal))
        releasedTotal += Int64(left)
        while let chunk = first {
            let size = chunk.pointee.tail - chunk.pointee.head
            if left < size {
                chunk.pointee.head += left
                return
            }
            left -= size
            // The last chunk is released too once it is empty: an idle connection holds no memory.
            first = chunk.pointee.next
            if first == nil { last = nil }
            if cursor == chunk { cursor = nil }
            chunk.pointee.next = nil
            pool.give(chunk)
        }
    }

    /// `count` bytes, from `offset` after the first kept byte, where they are: nil if they are not
    /// all in one chunk. They stay there until the buffer changes.
    func piece(offset: Int, count: Int) -> UnsafeRawBufferPointer? {
        var skip = offset
        var next = first
        while let chunk = next {
            let size = chunk.pointee.tail - chunk.pointee.head
            if skip < size {
                guard count <= size - skip else { return nil }
                return UnsafeRawBufferPointer(
                    start: chunk.bytes + chunk.pointee.head + skip, count: count)
            }
            skip -= size
            next = chunk.pointee.next
        }
        return nil
    }

    /// A copy of `count` bytes, from `offset` after the first kept byte.
    func copy(offset: Int, count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        var skip = offset
        var next = first
        while let chunk = next, bytes.count < count {
            let size = chunk.pointee.tail - chunk.pointee.head
            if skip < size {
                let taken = min(size - skip, count - bytes.count)
                bytes.append(
                    contentsOf: UnsafeRawBufferPointer(
                        start: chunk.bytes + chunk.pointee.head + skip, count: taken))
                skip = 0
            } else {
                skip -= size
            }
            next = chunk.pointee.next
        }
        return bytes
    }

    /// Releases everything. Bytes that are not sent yet never will be.
    mutating func drop(pool: ChunkPool) {
        while let chunk = first {
            first = chunk.pointee.next
            chunk.pointee.next = nil
            pool.give(chunk)
        }
        last = nil
        cursor = nil
        forgotten = 0
        releasedTotal = sentTotal
        appendedTotal = sentTotal
    }
}
