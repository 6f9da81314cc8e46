// Bytes that many clients are sent: they are copied once into a block, and the output of each
// client refers to a part of it. A block counts its references and goes with the last of them. It
// counts as output once, however many refer to it.

/// A counted block of bytes. One thread uses it, so the count is a plain number.
struct SharedBlock: Equatable {
    /// Its bytes are those before `tail`. `head` counts the references.
    private let chunk: ChunkPointer

    /// The room of a block for many messages.
    fileprivate static let room = ChunkPool.sizes.large - MemoryLayout<Chunk>.stride

    /// An empty block. The caller has the reference.
    fileprivate init(room: Int, pool: ChunkPool) {
        chunk =
            room == SharedBlock.room ? pool.take(for: room, queued: 0) : pool.take(exactly: room)
        chunk.pointee.head = 1
        pool.countOutput(chunk.size)
    }

    var bytes: UnsafeMutableRawPointer { chunk.bytes }

    func retain() { chunk.pointee.head += 1 }

    func release(pool: ChunkPool) {
        chunk.pointee.head -= 1
        guard chunk.pointee.head == 0 else { return }
        pool.countOutput(-chunk.size)
        pool.give(chunk)
    }

    /// Nobody but the caller refers to it.
    fileprivate var isUnshared: Bool { chunk.pointee.head == 1 }

    /// Forgets the bytes, which nobody refers to.
    fileprivate func rewind() { chunk.pointee.tail = 0 }

    fileprivate func hasRoom(for count: Int) -> Bool {
        count <= chunk.pointee.capacity - chunk.pointee.tail
    }

    /// Adds a frame, for which there is room, and a reference for the caller.
    fileprivate func append(_ frame: UnsafeRawBufferPointer, _ first: UInt8) -> BlockPart {
        let start = chunk.pointee.tail
        let room = UnsafeMutableRawBufferPointer(start: bytes + start, count: frame.count)
        room.copyMemory(from: frame)
        if !room.isEmpty { room[0] = first }
        chunk.pointee.tail += frame.count
        retain()
        return BlockPart(block: self, start: start, end: chunk.pointee.tail)
    }
}

/// Bytes of a block. It does not count as a reference.
struct BlockPart {
    let block: SharedBlock
    let start: Int
    let end: Int

    var count: Int { end - start }
}

/// How a message begins: with the byte of a push, or with that of an array for RESP2, which has no
/// pushes. Nothing else of it differs.
enum MessageForm {
    case push
    case array

    fileprivate var first: UInt8 {
        switch self {
        case .push: UInt8(ascii: ">")
        case .array: UInt8(ascii: "*")
        }
    }
}

/// The blocks that a worker fills: one for each form of messages, because messages that follow each
/// other in a block are sent in one piece. A message that is longer than a block has one of its
/// own.
struct SharedBlocks {
    private var push: SharedBlock?
    private var array: SharedBlock?

    /// Copies a frame into a block. The caller has a reference to it, which it must release.
    mutating func append(
        _ frame: UnsafeRawBufferPointer, as form: MessageForm, pool: ChunkPool
    ) -> BlockPart {
        switch form {
        case .push: SharedBlocks.append(frame, form, to: &push, pool: pool)
        case .array: SharedBlocks.append(frame, form, to: &array, pool: pool)
        }
    }

    private static func append(
        _ frame: UnsafeRawBufferPointer, _ form: MessageForm, to open: inout SharedBlock?,
        pool: ChunkPool
    ) -> BlockPart {
        if let open, open.isUnshared { open.rewind() }
        if let open, open.hasRoom(for: frame.count) { return open.append(frame, form.first) }
        let isLong = frame.count > SharedBlock.room
        let fresh = SharedBlock(room: isLong ? frame.count : SharedBlock.room, pool: pool)
        let part = fresh.append(frame, form.first)
        if isLong {
            fresh.release(pool: pool)
        } else {
            open?.release(pool: pool)
            open = fresh
        }
        return part
    }

    /// Gives back blocks that nobody refers to.
    mutating func trim(pool: ChunkPool) {
        SharedBlocks.trim(&push, pool: pool)
        SharedBlocks.trim(&array, pool: pool)
    }

    private static func trim(_ open: inout SharedBlock?, pool: ChunkPool) {
        guard let block = open, block.isUnshared else { return }
        block.release(pool: pool)
        open = nil
    }

    /// Gives back all blocks. Those that others refer to are freed with their last reference.
    mutating func drop(pool: ChunkPool) {
        push?.release(pool: pool)
        array?.release(pool: pool)
        push = nil
        array = nil
    }
}
