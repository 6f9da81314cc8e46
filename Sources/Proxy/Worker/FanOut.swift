// A message on its way to its listeners: it is copied once for each form, the output of each
// listener refers to that copy, and the writes are spread over iterations.
//
//     var message = worker.beginMessage(frame)                 // a whole frame; it begins with >
//     for id in listeners { worker.clients[id]?.receive(&message) }
//     worker.endMessage(message)                               // frees what nobody has taken
//
// A frame for one client alone, such as a confirmation with its own count, goes to
// `receive(alone:)`. `receive` neither writes nor closes: a loop over listeners may hold what a
// close would change.
// Both come in the epilogue, after all other writes of the iteration.

import EventLoop
import Pool

/// What a worker has to do for listeners.
struct FanOut: ~Copyable {
    /// Listeners with bytes to write, in the order in which they got them. Those before `next` have
    /// had their write.
    private var listeners: ContiguousArray<SlotID> = []
    private var next = 0
    /// Listeners that are to be closed in this iteration.
    private var doomed: ContiguousArray<(SlotID, ClientCloseReason)> = []
    fileprivate var blocks = SharedBlocks()
    /// Something is to be done in the epilogue: the loop does not wait.
    private(set) var hasWork = false

    /// The most writes in one iteration.
    static let mostWrites = 256
    /// After this time no further write is begun in an iteration, in nanoseconds. What another
    /// client sends waits for so long, and so does the server's answer.
    static let writeTime: Int64 = 150_000
    /// But so many listeners have their turn, so that what an iteration costs by itself stays small
    /// beside their writes.
    static let leastListeners = 16
    /// The memory of the list is kept for as many listeners.
    private static let mostKept = 16_384

    /// How many listeners have not had their write yet.
    var backlog: Int { listeners.count - next }

    fileprivate mutating func add(_ listener: SlotID) {
        listeners.append(listener)
        hasWork = true
    }

    fileprivate mutating func doom(_ listener: SlotID, _ reason: ClientCloseReason) {
        doomed.append((listener, reason))
        hasWork = true
    }

    fileprivate mutating func takeNext() -> SlotID? {
        guard next < listeners.count else { return nil }
        next += 1
        return listeners[next - 1]
    }

    fileprivate mutating func takeDoomed() -> ContiguousArray<(SlotID, ClientCloseReason)> {
        defer { doomed.removeAll() }
        return doomed
    }

    /// The part of this iteration is done.
    fileprivate mutating func rest() {
        if backlog == 0 {
            listeners.removeAll(keepingCapacity: listeners.count <= FanOut.mostKept)
            next = 0
        }
        hasWork = backlog > 0 || !doomed.isEmpty
    }

    /// Called with every tick: gives back blocks that nobody refers to.
    mutating func trim(_ chunks: ChunkPool) { blocks.trim(pool: chunks) }

    /// Called when all clients are closed.
    mutating func drop(_ chunks: ChunkPool) {
        listeners = []
        next = 0
        doomed = []
        hasWork = false
        blocks.drop(pool: chunks)
    }
}

/// One message, and the copies of it that have been made so far. The worker has a reference to each
/// until `endMessage`.
struct SharedMessage: ~Copyable {
    fileprivate let frame: UnsafeRawBufferPointer
    fileprivate var push: BlockPart?
    fileprivate var array: BlockPart?
}

extension Worker {
    /// A message for any number of listeners. `frame` is whole, begins with `>`, and stays where it
    /// is until `endMessage`.
    func beginMessage(_ frame: UnsafeRawBufferPointer) -> SharedMessage {
        SharedMessage(frame: frame, push: nil, array: nil)
    }

    /// All listeners have been given the message.
    func endMessage(_ message: consuming SharedMessage) {
        message.push?.block.release(pool: chunks)
        message.array?.block.release(pool: chunks)
    }

    /// The copy of a message in the form that a client wants.
    func part(of message: inout SharedMessage, as form: MessageForm) -> BlockPart {
        switch form {
        case .push:
            if let push = message.push { return push }
            let part = fanOut.blocks.append(message.frame, as: .push, pool: chunks)
            message.push = part
            return part
        case .array:
            if let array = message.array { return array }
            let part = fanOut.blocks.append(message.frame, as: .array, pool: chunks)
            message.array = part
            return part
        }
    }

    /// Queues a listener for a write in this iteration or one of the next. One that is queued as
    /// any client gets it there.
    func writeLater(_ client: ClientConnection) {
        if !client.lists.isDisjoint(with: [.dirty, .fanOut]) { return }
        client.lists.insert(.fanOut)
        fanOut.add(client.id)
    }

    /// Has a listener closed in this iteration.
    func doom(_ client: ClientConnection, _ reason: ClientCloseReason) {
        fanOut.doom(client.id, reason)
    }

    /// Writes to some listeners, when everything else of this iteration is written.
    func writeFanOut() {
        for (id, reason) in fanOut.takeDoomed() { clients[id]?.closeListener(reason) }
        let end = EventLoop.now() + FanOut.writeTime
        var writes = 0
        var listeners = 0
        while writes < FanOut.mostWrites, let id = fanOut.takeNext() {
            listeners += 1
            guard let client = clients.unretained(id) else { continue }
            if client._withUnsafeGuaranteedRef({ $0.writeMessages() }) { writes += 1 }
            if listeners >= FanOut.leastListeners, EventLoop.now() >= end { break }
        }
        fanOut.rest()
    }
}
