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
    let server: Server
    /// The pool whose clients it serves.
    let pool: PoolFront
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

    /// Who has it alone; nil while it is shared. Only the functions under "Use" change that.
    private(set) var sole: SoleUse?
    /// Clients that share it and have something in flight.
    private var sharers = 0
    var edges = FrameEdges()
    /// A push that is meant for nobody is passing by.
    var isDropping = false
    /// The client that has left while it was blocked here, and is closed when this connection is.
    var lastToLeave: SlotID?
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
    /// Those of its clients that do not read fast enough.
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
    var isHeld = false
    /// Clients with more than `clientOutputLimit` waiting for them.
    var readersAtLimit = 0
    var limitClock = LimitClock()
    var isAvailable = true
    /// A write has found the connection reset: what its peer acknowledged last is not all that it
    /// may have received. EPIPE is none of that: it follows an orderly end.
    var isReset = false
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
        id: UpstreamID, key: PoolKey, descriptor: Int32, address: String, server: Server
    ) {
        self.id = id
        self.address = address
        self.key = key
        self.server = server
        pool = server.pool
        worker = server.worker
        waitingSince = server.worker.now
        dialledAt = server.worker.now
        channel = Channel()
        channel = Channel(
            descriptor: descriptor, loop: server.worker.loop,
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
            switch sole?.kind {
            case .piped(let client):
                client.receive(UnsafeRawPointer(buffer), count: count)
                client.holdIfSlow(self)
            case .abandoned: break
            default:
                if stage == .ready { receiveReplies(UnsafeRawPointer(buffer), count) }
            }
        case .connecting, .closed: break
        }
    }

    /// The stream has ended: by an orderly close (error 0) or a broken connection.
    func ended(error: Int32) {
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
            if error == 0, inFlight.isEmpty { server.looks.isTimeoutDoubtful = true }
            lose(error == 0 && !isReset ? .upstreamClosed : .upstreamReset)
        }
    }

    // MARK: Use

    /// Others can have this connection at the same time.
    @inline(__always)
    var isShared: Bool { sole == nil }

    /// The client that holds this connection, replies framed.
    var holder: ClientConnection? {
        if case .held(let client, _) = sole?.kind { client } else { nil }
    }

    /// What a holder has tied to this connection; nil when nobody holds it or has held it.
    @inline(__always)
    var hold: HeldState? { sole?.state }

    /// The client whose bytes pass through unframed.
    @inline(__always)
    var piped: ClientConnection? {
        if let sole, case .piped(let client) = sole.kind { client } else { nil }
    }

    /// Clients that have something in flight here, or the connection for themselves.
    var clients: Int { sole?.clients ?? sharers }

    /// One client more has something in flight here.
    @inline(__always)
    func share() {
        assert(isShared, "a connection of one client is shared")
        sharers += 1
    }

    /// Lends it to one client alone: the pool has leased it so, or the client has it for another use.
    func lend(to client: ClientConnection, for loan: Loan) {
        assert(sharers == 0, "a connection that others share is lent to one client")
        switch loan {
        case .reply(let isBlocking): sole = SoleUse(.exclusive, isBlocking: isBlocking)
        case .hold: sole = SoleUse(.held(client, HeldState()))
        case .pipe:
            scanner.passesLines = false
            output.forgetsSent = true
            sole = SoleUse(.piped(client))
        }
    }

    /// Lends it to Redpool's own question about scripts.
    func lendToQuestion() {
        assert(sharers == 0, "a connection that others share is lent to a question")
        sole = SoleUse(.asking(.asked))
    }

    /// A client has all that it has asked for, or Redpool has, and nothing is tied to the connection.
    @inline(__always)
    func takeBack() {
        if isShared { sharers -= 1 } else { takeBackFromOne() }
    }

    private func takeBackFromOne() {
        if case .abandoned = sole?.kind { return }
        scanner.passesLines = false
        output.forgetsSent = false
        sole = nil
    }

    /// Whoever had it has left, and nobody else can have it.
    func abandon() {
        sole = SoleUse(.abandoned)
        sharers = 0
    }

    /// What is tied to the connection changes, as a reply to `expectation` says.
    @inline(__always)
    func heldReplied(to expectation: Expectation, _ facts: ReplyFacts, value: UInt32) {
        sole?.state?.replied(to: expectation, facts, value: value)
    }

    /// Something has happened to a held connection whose effects cannot be told.
    func taint() { sole?.state?.taint() }

    /// A command was queued in a transaction that changes the connection when EXEC runs it.
    func noteQueued() { sole?.state?.queued() }

    /// A command was queued in the open transaction that may bring more than one element.
    func noteDoubt() { sole?.isDoubtful = true }

    /// The next command of the client that has this connection alone may block, or is answered.
    func setBlocking(_ isBlocking: Bool) { sole?.isBlocking = isBlocking }

    /// EXEC goes with a fence behind it.
    func settleDoubt() { sole?.isDoubtful = false }

    /// Whether another client's invalidations are redirected to the holder.
    func setTarget(_ isTarget: Bool) { sole?.state?.isTarget = isTarget }
}

private func upstreamReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<UpstreamConnection>.fromOpaque(owner).takeUnretainedValue().readable()
}

private func upstreamWritable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<UpstreamConnection>.fromOpaque(owner).takeUnretainedValue().writable()
}
