// One connection to the server: its socket, what is in flight on it, who uses it, and its stages
// from connect to close.

import Config
import EventLoop
import Glibc
import Pool
import RESP
import Session

/// An upstream. The pool's state machine decides what it is used for; this class carries it out.
final class UpstreamConnection {
    /// From `connecting`, with TLS by way of `securing`, and `handshaking` to `ready`; a
    /// conversion goes back to `handshaking`; `closing` from anywhere, and `closed` at the end.
    enum Stage {
        case connecting
        /// The handshake of TLS. Nothing of ours has been sent.
        case securing
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
    /// The reply that is coming in.
    var incoming = IncomingReply()
    /// Who has it alone; nil while it is shared. Only the functions under "Use" change that.
    private(set) var sole: SoleUse?
    /// Clients that share it and have something in flight.
    private var sharers = 0
    var flow = UpstreamFlow()
    var ending = UpstreamEnding()
    var origin: UpstreamOrigin
    /// The fence in flight.
    var fence: Fence?
    /// When the next one goes along with what is written, in nanoseconds.
    var fenceDue = Int64.max
    var gauge = ReplyGauge()
    /// It is in a list of the worker's, or of the server's, for the end of the iteration.
    var isDirty = false
    var isEmptiedNoted = false
    /// When connecting, a handshake or closing has taken too long.
    var deadline: MonotonicTime?
    /// Since when the oldest unanswered command is the oldest.
    var waitingSince: MonotonicTime
    /// What the server believes this client's name and library are: a later client that looks must
    /// find its own.
    var identity = ClientIdentity()

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
        origin = UpstreamOrigin(
            serial: server.worker.group.nextUpstream(), address: address,
            dialledAt: server.worker.now)
        self.key = key
        self.server = server
        pool = server.pool
        worker = server.worker
        waitingSince = server.worker.now
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
            if wantsTLS { secure() } else { beginHandshake() }
            return
        }
        if stage == .securing { drainHandshake() } else { flush() }
    }

    fileprivate func readable() {
        worker.updateNow()
        let buffer = worker.readBuffer
        let count = channel.receive(into: buffer, count: Worker.readSize)
        if count <= 0 {
            if count == -Int(EAGAIN) {
                if stage == .securing { lookAtTLS() }
                return
            }
            ended(error: Int32(-count))
            return
        }
        pool.meter.upstreamReceived &+= UInt64(count)
        switch stage {
        case .handshaking: receiveHandshake(UnsafeRawPointer(buffer), count)
        case .ready, .closing:
            switch sole?.kind {
            case .piped(let client):
                client.receive(UnsafeRawPointer(buffer), count: count)
                client.checkPace(self)
            case .abandoned: break
            default:
                if stage == .ready { receiveReplies(UnsafeRawPointer(buffer), count) }
            }
        case .securing: fail(.handshakeFailed, "the server sent bytes before it was asked")
        case .connecting, .closed: break
        }
    }

    /// The stream has ended: by a close of the server (error 0) or by a broken connection.
    func ended(error: Int32) {
        let text = endText(error: error)
        switch stage {
        case .connecting:
            fail(.connectFailed, text)
        case .securing:
            securingEnded(text)
        case .handshaking where handshake.isFirst:
            fail(.handshakeFailed, "\(text) after \(handshake.currentName)")
        case .closing:
            finishClosing()
        case .handshaking, .ready, .closed:
            if ending.hasSaidGoodbye {
                lose(.clientGone)
                return
            }
            // The server may have closed it as idle, so its `timeout` is read again.
            if error == 0, inFlight.isEmpty { server.looks.isTimeoutDoubtful = true }
            lose(error == 0 && !ending.isReset ? .upstreamClosed : .upstreamReset, text)
        }
    }

    // MARK: Use

    /// Several clients can use this connection at the same time.
    @inline(__always)
    var isShared: Bool { sole == nil }

    /// The client that holds this connection. Its replies are framed.
    var holder: ClientConnection? {
        if case .held(let client, _) = sole?.kind { client } else { nil }
    }

    /// The state that a holder has tied to this connection; nil without a hold.
    @inline(__always)
    var hold: HeldState? { sole?.state }

    /// The client of a pipe. Its bytes are not framed.
    @inline(__always)
    var piped: ClientConnection? {
        if let sole, case .piped(let client) = sole.kind { client } else { nil }
    }

    /// The number of clients with commands in flight here, or with sole use.
    var clients: Int { sole?.clients ?? sharers }

    /// One more client has commands in flight here.
    @inline(__always)
    func share() {
        assert(isShared, "a connection of one client is shared")
        sharers += 1
    }

    /// Lends the connection to one client alone, after a lease or for another kind of use.
    func lend(to client: ClientConnection, for loan: Loan) {
        assert(sharers == 0, "a connection that others share is lent to one client")
        switch loan {
        case .reply(let isBlocking): use(.exclusive, isBlocking: isBlocking)
        case .hold: use(.held(client, HeldState()))
        case .pipe:
            scanner.passesLines = false
            output.forgetsSent = true
            use(.piped(client))
        }
    }

    /// Lends the connection to Redpool's own question about scripts.
    func lendToQuestion() {
        assert(sharers == 0, "a connection that others share is lent to a question")
        use(.asking(.asked))
    }

    /// Lends the connection to commands that unblock clients. It has no deadline: a CLIENT PAUSE
    /// delays it.
    func lendToUnblocking() {
        assert(sharers == 0, "a connection that others share is lent to Redpool")
        use(.unblocking, isBlocking: true)
    }

    /// Lends the connection to the subscriptions of many clients. It is not read slowly for any.
    func lend(to hub: PushHub) {
        assert(sharers == 0, "a connection that others share is lent to a hub")
        use(.hub(hub))
    }

    /// Lends the connection to a command that the server is to refuse, or notes how far that is.
    func lend(to gate: Gate) {
        assert(sharers == 0, "a connection that others share is lent to a gate")
        use(.gate(gate))
    }

    /// Ends one client's use. Nothing is in flight for it, and no state is tied to the connection.
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

    /// Ends every use: the user has left, and no client gets this connection again.
    func abandon() {
        use(.abandoned)
        sharers = 0
    }

    private func use(_ kind: SoleUse.Kind, isBlocking: Bool = false) {
        sole = SoleUse(kind, isBlocking: isBlocking, since: worker.now)
    }

    /// The state of a hold that a former program began.
    func restore(_ state: HeldState, isBlocking: Bool, isDoubtful: Bool) {
        sole?.state = state
        sole?.isBlocking = isBlocking
        sole?.isDoubtful = isDoubtful
    }

    /// Changes the held state as a reply to `expectation` says.
    @inline(__always)
    func heldReplied(to expectation: Expectation, _ facts: ReplyFacts, value: UInt32) {
        sole?.state?.replied(to: expectation, facts, value: value)
    }

    /// The effects of something on a held connection are not known.
    func taint() { sole?.state?.taint() }

    /// A command is queued in the transaction that changes the connection when EXEC runs it.
    func noteQueued() { sole?.state?.queued() }

    /// A command is queued in the transaction that may bring more than one element.
    func noteDoubt() { sole?.isDoubtful = true }

    /// Whether the last command of a sole use may block.
    func setBlocking(_ isBlocking: Bool) { sole?.isBlocking = isBlocking }

    /// A fence follows EXEC, so the doubt ends.
    func settleDoubt() { sole?.isDoubtful = false }

    /// Whether another client redirects its invalidations to the holder.
    func setTarget(_ isTarget: Bool) { sole?.state?.isTarget = isTarget }
}

private func upstreamReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<UpstreamConnection>.fromOpaque(owner)._withUnsafeGuaranteedRef { $0.readable() }
}

private func upstreamWritable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<UpstreamConnection>.fromOpaque(owner)._withUnsafeGuaranteedRef { $0.writable() }
}
