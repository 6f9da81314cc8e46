// One connection to the server: its socket, what it owes to whom, and its way from connect to
// close.

import Config
import EventLoop
import Glibc
import Pool
import RESP
import Session

/// An upstream connection. The pool's state machine decides what it is used for; this class does
/// it.
final class UpstreamConnection {
    /// From `connecting` by way of `handshaking` to `ready`; a conversion goes back to
    /// `handshaking`; `closing` from anywhere, and `closed` at the end.
    enum Stage {
        case connecting
        /// State is being set up, each step validated before the next.
        case handshaking
        case ready
        /// We have said that we are done and wait for the server's end of the stream, so that a
        /// connection stops counting only when the server has let it go as well.
        case closing
        case closed
    }

    let id: UpstreamID
    let pool: UpstreamPool
    let worker: Worker
    var key: PoolKey
    var channel: Channel
    var stage = Stage.connecting
    var output = CommandBuffer()
    var inFlight = InFlightQueue()
    var scanner = ReplyScanner()
    var handshake = Handshake()
    /// Bytes of a reply that the proxy reads itself.
    var collected: [UInt8] = []
    /// The beginning of such a reply, which is too long to be kept, has gone to its client.
    var isBegunRelayed = false
    /// The array of an EXEC that is passing by and is looked at.
    var walk: ExecWalk?

    /// The client that holds this connection alone, bytes passing through unframed.
    var piped: ClientConnection?
    /// The client of a pipe has left and the pool has not closed the connection yet: what still
    /// comes answers nobody.
    var isAbandoned = false
    /// The client that holds this connection alone, replies framed.
    var holder: ClientConnection?
    /// What the holder has tied to this connection; nil when nobody holds it.
    var hold: HeldState?
    var edges = FrameEdges()
    /// A read has ended behind the first byte of what may be a line of MONITOR.
    var isPlusKept = false
    /// What becomes of the line of MONITOR that is passing by; nil when none is.
    var lineFate: LineFate?
    /// A frame of a subscription is passing by.
    var isInPush = false
    var pushFate = PushFate.undecided
    /// A push that is meant for nobody is passing by.
    var isDropping = false
    /// The holder has left; the connection is being cleaned for the next.
    var isOrphaned = false
    /// The client that has left while it was blocked here, and is closed when this connection is.
    var lastToLeave: SlotID?
    /// Leased to one client, by way of a hold or until a reply.
    var isExclusive = false
    /// Why it must not be used again once its lease ends: the server has been asked for something
    /// whose effect cannot be told, say.
    var spoiled: CloseReason?
    /// The server has ended the wait of the client that was blocked here, and ends the client.
    var hasUnblocked = false
    /// The server has been told that nothing more comes, as its client has ended.
    var hasSaidGoodbye = false
    /// Since when it is one of those that the pool spends on commands that are not understood.
    var oneOffSince: MonotonicTime?
    /// That of the pool when its server had said who it is; nil when that was too busy to say.
    var epoch: Int? = 0
    /// What its server has called itself.
    var runID: [UInt8]?
    /// The open transaction has a command in it that may bring more than one element.
    var isDoubtful = false
    var scriptQuestion = ScriptQuestion.none
    /// The fence in flight.
    var fence: Fence?
    /// When the next one goes along with what is written, in nanoseconds.
    var fenceDue = Int64.max
    /// A fence has shown that replies went to the wrong clients.
    var isMisaligned = false
    /// It was made while the default user needed a password, and nobody has logged in here since.
    /// To the server that stays so when the password is taken away: HELLO is refused here.
    var lacksLogin = false
    /// The most bytes of replies to clients that are not logged in.
    var owedToStrangers = 0
    var gauge = ReplyGauge()
    /// Clients with something in flight on this shared connection.
    var sharers = 0
    /// Those of them that do not read fast enough.
    var slowReaders = 0
    /// Clients that wait until nobody has anything in flight here.
    var soloists: [SlotID] = []
    /// Clients that are not read until this connection's output has drained.
    var feeders: [SlotID] = []

    let dialledAt: MonotonicTime
    /// Where it is connected to, and how many answers of the resolver in a row were without that.
    let address: String
    var misses = 0

    var isDirty = false
    var isEmptiedNoted = false
    /// Bytes of the reply at the head have already gone to its client.
    var isRelaying = false
    var hasLargeReply = false
    /// It is not read, because those who wait here do not read either.
    private(set) var isHeld = false
    /// Clients with more than `clientOutputLimit` waiting for them.
    var readersAtLimit = 0
    var limitClock = LimitClock()
    private var isAvailable = true
    /// A write has found the connection reset: what its peer acknowledged last is not all that it
    /// may have received. EPIPE is none of that: it follows an orderly end.
    private var isReset = false
    var deadline: MonotonicTime?
    /// Since when the oldest unanswered command is the oldest.
    var waitingSince: MonotonicTime
    /// What the server believes this client's name and library are: a later client that looks must
    /// find its own.
    var identity = ClientIdentity()
    /// The id by which the server knows this connection, and whether it was asked for that.
    var serverID: Int64?
    var isIdentified = false

    /// Above this much unwritten output the clients that feed it are not read.
    static let outputHighWater = 1 << 20
    static let outputLowWater = 64 << 10
    /// A bulk longer than this makes the reply a large one: nobody else is put behind it.
    static let largeReply = 64 << 10
    /// How long the server may take to see our end of the stream: less than the pool's own
    /// `closeTimeout`, after which the pool takes the connection for gone and opens another.
    static let closeTimeout: Int64 = 900_000_000

    init(
        id: UpstreamID, key: PoolKey, descriptor: Int32, address: String, pool: UpstreamPool
    ) {
        self.id = id
        self.address = address
        self.key = key
        self.pool = pool
        worker = pool.worker
        waitingSince = pool.worker.now
        dialledAt = pool.worker.now
        channel = Channel()
        channel = Channel(
            descriptor: descriptor, loop: pool.worker.loop,
            owner: Unmanaged.passUnretained(self).toOpaque(), onReadable: upstreamReadable,
            onWritable: upstreamWritable)
    }

    // MARK: Events

    func awaitConnect() {
        deadline = worker.now + pool.config.connectTimeout
        channel.awaitWritable()
    }

    fileprivate func writable() {
        worker.updateNow()
        if stage == .connecting {
            let error = channel.pendingError()
            if error != 0 {
                fail(.connectFailed, System.errorText(error))
                return
            }
            channel.startReading()
            beginHandshake()
            return
        }
        flush()
    }

    fileprivate func readable() {
        worker.updateNow()
        let buffer = worker.readBuffer
        let count = channel.receive(into: buffer, count: Worker.readSize)
        if count <= 0 {
            if count == -Int(EAGAIN) { return }
            ended(error: Int32(-count))
            return
        }
        switch stage {
        case .handshaking: receiveHandshake(UnsafeRawPointer(buffer), count)
        case .ready, .closing:
            if let client = piped {
                client.receive(UnsafeRawPointer(buffer), count: count)
                client.holdIfSlow(self)
            } else if stage == .ready, !isAbandoned {
                receiveReplies(UnsafeRawPointer(buffer), count)
            }
        case .connecting, .closed: break
        }
    }

    /// The stream has ended: by an orderly close (error 0) or a broken connection.
    private func ended(error: Int32) {
        let text = error == 0 ? "the server closed the connection" : System.errorText(error)
        switch stage {
        case .connecting:
            fail(.connectFailed, text)
        case .handshaking where handshake.isFirst:
            fail(.handshakeFailed, "\(text) after \(handshake.currentName)")
        case .closing:
            finishClosing()
        case .handshaking, .ready, .closed:
            if hasSaidGoodbye {
                lose(.clientGone)
                return
            }
            // It may have been idle for too long, as the server sees it.
            if error == 0, inFlight.isEmpty { pool.looks.isTimeoutDoubtful = true }
            lose(error == 0 && !isReset ? .upstreamClosed : .upstreamReset)
        }
    }

    // MARK: Output

    /// Queues bytes; they are written at the end of the iteration.
    func send(_ bytes: UnsafeRawPointer, count: Int) {
        output.append(bytes, count: count, pool: worker.chunks)
        worker.markDirty(self)
    }

    func send(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { raw in
            if let base = raw.baseAddress {
                output.append(base, count: raw.count, pool: worker.chunks)
            }
        }
        worker.markDirty(self)
    }

    /// Notes that a reply is owed for the `bytes` that are sent next.
    func expect(
        _ client: SlotID, _ expectation: Expectation, bytes: Int, value: UInt32 = 0,
        isSilent: Bool = false
    ) {
        if inFlight.isEmpty { waitingSince = worker.now }
        inFlight.append(client, expectation, bytes: bytes, value: value, isSilent: isSilent)
    }

    /// `count` replies of the oldest entry have come.
    func finishHead(_ count: UInt32 = 1) {
        waitingSince = worker.now
        let bytes = inFlight.finish(count)
        if bytes > 0 { output.answered(bytes, pool: worker.chunks) }
    }

    /// Queues bytes of a stream; large pieces go to the socket at once instead of being copied.
    func stream(_ bytes: UnsafeRawPointer, count: Int) {
        var sent = 0
        if output.isAllSent, output.forgetsSent, count >= 16 << 10 {
            let result = channel.send(bytes, count: count)
            if result > 0 {
                sent = result
                output.passed(result)
            } else if result < 0 {
                noteFailedWrite(Int32(-result))
            }
        }
        if sent < count { send(bytes + sent, count: count - sent) }
    }

    func flush() {
        guard stage == .handshaking || stage == .ready || stage == .closing else { return }
        if worker.now.nanoseconds >= fenceDue { fenceIfDue() }
        switch output.flush(to: channel, pool: worker.chunks) {
        case .empty:
            if stage == .closing { channel.finishWriting() }
        case .full:
            channel.awaitWritable()
        case .failed(let error):
            // What the server has already answered is still there to be read; the read says when
            // the stream is over, and then what has not gone out is sent again elsewhere.
            noteFailedWrite(error)
            if stage == .closing || !channel.isReading { ended(error: error) }
        }
        output.boundKept(pool: worker.chunks)
        pool.machine.written(id, since: worker.turnBegan, now: worker.now)
        outputChanged()
    }

    /// A write that finds the connection reset takes the error from the socket, so that the read
    /// behind it shows a mere end, which would be taken for an orderly one.
    private func noteFailedWrite(_ error: Int32) {
        if error != EPIPE, error != EAGAIN { isReset = true }
    }

    /// Pauses and resumes the clients that feed this connection.
    func outputChanged() {
        if output.unsent <= UpstreamConnection.outputLowWater, !feeders.isEmpty {
            let waiting = feeders
            feeders = []
            for id in waiting { worker.clients[id]?.upstreamDrained() }
        }
        judgeAvailability()
    }

    /// True when a feeding client should stop: it is then resumed by `outputChanged`.
    func isFull(for client: ClientConnection) -> Bool {
        guard output.unsent > UpstreamConnection.outputHighWater else { return false }
        feeders.append(client.id)
        judgeAvailability()
        return true
    }

    // MARK: Availability and holding

    /// Somebody who reads well waits here for a reply.
    var keepsOthersWaiting: Bool { sharers > slowReaders }

    /// Tells the pool whether more clients may be put on this shared connection.
    func judgeAvailability() {
        let available =
            !hasLargeReply && slowReaders == 0 && soloists.isEmpty
            && output.unsent <= UpstreamConnection.outputHighWater
        if available == isAvailable { return }
        isAvailable = available
        pool.machine.setAvailable(id, available)
        pool.noteWork()
    }

    /// When everybody who is owed something here reads slowly, reading stops: the server then keeps
    /// the replies, exactly as it would for a slow client of its own. A shared upstream that is
    /// wanted is read on, until the client's limit decides whether it may go on like that.
    func judgeHold() {
        let isWanted = pool.isCrowded && !isExclusive
        let hold = readersAtLimit > 0 || (slowReaders > 0 && slowReaders >= sharers && !isWanted)
        if hold == isHeld { return }
        isHeld = hold
        guard stage == .ready || stage == .closing else { return }
        if hold { channel.stopReading() } else { channel.startReading() }
    }
}

private func upstreamReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<UpstreamConnection>.fromOpaque(owner).takeUnretainedValue().readable()
}

private func upstreamWritable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<UpstreamConnection>.fromOpaque(owner).takeUnretainedValue().writable()
}
