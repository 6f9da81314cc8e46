// One client: its socket, its state, reading its input, and when it is read.

import Config
import EventLoop
import Glibc
import Pool
import RESP
import Session

/// A connected client.
final class ClientConnection {
    /// What the client is doing. All begin and, but for `piped` and `closing`, end in `open`. Where
    /// Redpool judges logins, a client begins as `loggedOut`, and is so again after RESET.
    enum Mode: Equatable {
        /// Commands are handled as they come; those of a client that holds an upstream go there.
        case open
        /// The command at the head of the input waits for a lease.
        indirect case waiting(LeaseWait)
        /// The command at the head of the input waits until everything before it is answered.
        case barrier
        /// The server is being asked what the command at the head of the input is.
        case asking
        /// Other workers are being asked what the command at the head of the input has to know.
        case gathering
        /// One command has an upstream of its own until its reply.
        case exclusive
        /// The same, and the command itself, which may block, is still coming in.
        case streaming(isBlocking: Bool)
        /// The rest of a refused large command is thrown away as it comes.
        case swallowing
        /// An upstream of its own is being given the client's name.
        case preparing
        /// An upstream of its own for the rest of the session, bytes passing through both ways.
        case piped(Pipe)
        /// The client has to log in to Redpool first; Redpool answers all its commands.
        case loggedOut
        /// Nothing more is read; what is queued is written, then the connection closes.
        case closing(ClientCloseReason)
    }

    /// Why a client is not read at present.
    struct Pauses: OptionSet {
        let rawValue: UInt8
        /// Its upstream does not take bytes.
        static let upstreamFull = Pauses(rawValue: 1)
        /// It has sent enough for as long as its command waits.
        static let inputFull = Pauses(rawValue: 2)
        /// Another program is about to take it over.
        static let frozen = Pauses(rawValue: 4)
    }

    /// The worker's lists that it stands in.
    struct WorkLists: OptionSet {
        let rawValue: UInt8
        /// Output is to be written at the end of the iteration.
        static let dirty = WorkLists(rawValue: 1)
        /// Its pending input is to be handled again in this iteration.
        static let ready = WorkLists(rawValue: 2)
        /// Its turn ended before its input did: it is not read before it has gone on.
        static let carriedOver = WorkLists(rawValue: 4)
        /// Its listener is gone: it is closed as soon as nothing of it is in flight.
        static let leaving = WorkLists(rawValue: 8)
        /// Its handshake of TLS is to go on.
        static let shaking = WorkLists(rawValue: 16)
        /// Messages are to be written, see `FanOut`.
        static let fanOut = WorkLists(rawValue: 32)
        /// What it has got of its replies is written in the next iteration, see `expectMore`.
        static let expecting = WorkLists(rawValue: 64)
    }

    /// What it has sent since it connected.
    struct ClientCounts {
        /// Those that were sent to a server, and those that Redpool answered.
        var commands: UInt64 = 0
        var bytesIn: UInt64 = 0
    }

    /// When it came, and from where.
    struct Origin {
        /// In nanoseconds.
        let connectedAt: Int64
        /// The low byte of the client's port. CLIENT KILL looks at it first: an address costs more.
        let portMark: UInt8
        /// The place of its own address in `Worker.localAddresses`, from 1; 0 until it is known.
        var localPlace: UInt8 = 0
        /// The number of the listener that it came by.
        let listener: UInt16
    }

    // In this order hardly a byte between them is padding; malloc rounds up to the next 16 bytes.
    let id: SlotID
    let pool: PoolFront
    let worker: Worker
    /// `server`, for what each command asks: without a retain. The pool keeps a server for as long
    /// as a client has it (`letFormerGo`).
    private(set) var home: Unmanaged<Server>
    var channel: Channel
    var lists: WorkLists = []
    var inputEnded = false
    private var pauses: Pauses = []
    /// The output has passed the high water mark and counts as slow on its upstream.
    var isSlow = false
    var lastCommand = Command.unknown
    var listening: Listening = []
    var input = InputBuffer()
    /// Commands sent and not answered yet.
    var inFlight: UInt32 = 0
    var output = OutputBuffer()
    /// Where its commands are in flight, or what it holds alone.
    var upstream: UpstreamConnection?
    /// An upstream that the pool has just granted and that is not used yet.
    var granted: Grant?
    /// The command at the head of the input, while it has not come whole.
    var unfinished: UnfinishedCommand?
    var extras: ClientExtras?
    var subscribing: Subscribing?
    /// The id that the client sees; never used twice.
    let serial: UInt64
    var lastActivity: Int64
    /// Bytes that the client's socket has taken since it connected.
    var bytesTaken: UInt64 = 0
    var counted = ClientCounts()
    var mode = Mode.open
    var session: Session
    var origin: Origin

    /// Where its commands go: the server of its upstream, its grant and its wait.
    var server: Server { home.takeUnretainedValue() }

    /// The sub-pool whose upstreams fit this session.
    var key: PoolKey { session.key }

    /// The most that is read of a client in one iteration of the loop: others have their turn
    /// before the rest of a long pipeline. Redis itself takes 16 KB (PROTO_IOBUF_LEN) at a time.
    static let turn = 64 << 10
    /// Input kept for a command that is coming in; beyond it the client is not read.
    static let inputLimit = 256 << 10
    /// The same while its command waits for something else than its own end.
    static let waitingInputLimit = 64 << 10
    /// A command longer than this gets an upstream of its own and streams through.
    static let streamThreshold = 128 << 10
    static let outputHighWater = 1 << 20
    static let outputLowWater = 256 << 10
    /// The same while memory for all clients' replies is short.
    static let shortHighWater = 64 << 10
    static let shortLowWater = 16 << 10
    /// How long a closing client may take to read its last bytes.
    static let lingerTimeout: Int64 = 5_000_000_000

    init(id: SlotID, _ accepted: AcceptedClient, pool: PoolFront, worker: Worker) {
        self.id = id
        self.pool = pool
        self.worker = worker
        home = Unmanaged.passUnretained(pool.primary)
        session = Session(key: pool.warmKey)
        serial = accepted.serial
        origin = Origin(
            connectedAt: worker.now.nanoseconds,
            portMark: UInt8(truncatingIfNeeded: accepted.peer.port), listener: accepted.listener)
        lastActivity = worker.now.nanoseconds
        channel = Channel()
        channel = Channel(
            descriptor: accepted.descriptor, loop: worker.loop,
            owner: Unmanaged.passUnretained(self).toOpaque(), onReadable: clientReadable,
            onWritable: clientWritable)
        if pool.config.clientUsers != nil { mode = .loggedOut }
    }

    func start() {
        channel.startReading()
    }

    /// Its next command goes to this node.
    func home(at node: Server) { home = Unmanaged.passUnretained(node) }

    /// Its commands go to another server from now on. Nothing of it is at the present one.
    func move(to next: Server) {
        home = Unmanaged.passUnretained(next)
        session.movesElsewhere()
    }

    /// It is to leave as soon as it has its replies: the process ends, or its listener is gone.
    @inline(__always)
    var isLeaving: Bool { worker.lifecycle != .running || lists.contains(.leaving) }

    /// Nothing of this client is in progress. Closing it loses no reply.
    var isQuiet: Bool {
        guard inFlight == 0, input.isEmpty, isAllWritten, !awaitsHub else { return false }
        switch mode {
        case .open: return isHolding ? upstream?.hold?.isListening == true : !lists.contains(.ready)
        case .piped(let pipe): return !pipe.isOwed
        case .loggedOut: return !lists.contains(.ready)
        default: return false
        }
    }

    // MARK: Reading

    /// A drain is about to close this client, which is quiet. What has arrived meanwhile is read
    /// and answered before.
    func takeLastInput() {
        if channel.isReading { readable() }
    }

    fileprivate func readable() {
        // Input that is not read now is reported again. A change of the peer is reported only once.
        if lists.contains(.carriedOver), channel.isReading { return }
        worker.updateNow()
        if !channel.isReading {
            noticePeer()
            return
        }
        lastActivity = worker.now.nanoseconds
        noteRead(readOnce())
    }

    /// What a read has returned; its bytes have been handled.
    @inline(__always) func noteRead(_ count: Int) {
        if count > 0 {
            counted.bytesIn &+= UInt64(count)
            afterInput()
        } else if count == 0 {
            ended()
        } else if count == -Int(EINPROGRESS) {
            worker.shakeHandsLater(with: self)
        } else if count != -Int(EAGAIN) {
            closeBroken()
        }
    }

    /// Reads once. While little input is pending, bytes go through the worker's shared buffer, so
    /// an idle client needs no buffer. A long pending command grows in the client's own.
    private func readOnce() -> Int {
        let shared = worker.readBuffer
        let pending = input.count
        let most = readLimit
        if pending > ClientConnection.turn / 2 {
            let wanted = min(max(scanner.payloadRemaining, 16 << 10), most)
            let room = input.prepare(wanted, pool: worker.chunks)
            let count = channel.receive(into: room.baseAddress!, count: wanted)
            if count > 0 {
                input.added(count)
                handlePending()
            }
            return count
        }
        if let bytes = input.bytes { shared.copyMemory(from: bytes, byteCount: pending) }
        let count = channel.receive(into: shared + pending, count: most - pending)
        if count > 0 { handleRead(pending + count) }
        return count
    }

    /// Handles what the worker's buffer has, and keeps what is left of it.
    @inline(__always) func handleRead(_ count: Int) {
        let shared = worker.readBuffer
        let handled = handle(shared, count)
        if !channel.isOpen { return }
        input.drop(pool: worker.chunks)
        input.append(shared + handled, count: count - handled, pool: worker.chunks)
    }

    /// How much is read at once. Large values cost the server little per byte, so they are read in
    /// large pieces.
    private var readLimit: Int {
        switch mode {
        case .streaming, .swallowing, .piped: Worker.readSize
        default: ClientConnection.turn
        }
    }

    private var inputLimit: Int {
        if isBlocked { return blockedInputLimit }
        if extras?.collectsAsk == true, unfinished != nil {
            return ClientConnection.longestAsk + ClientConnection.turn
        }
        switch mode {
        case .waiting, .barrier, .exclusive: return ClientConnection.waitingInputLimit
        default: return ClientConnection.inputLimit
        }
    }

    /// Handles the pending input again.
    private func handlePending() {
        guard let bytes = input.bytes else { return }
        let handled = handle(bytes, input.count)
        if channel.isOpen { input.consume(handled, pool: worker.chunks) }
    }

    /// Called by the epilogue when a wait of this client may be over.
    func resume() {
        lists.subtract([.ready, .carriedOver])
        guard channel.isOpen else { return }
        if mode == .barrier, inFlight == 0 {
            mode = .open
            pipeStranger()
        }
        if pool.isRouted || strands != nil { resumeRouted() }
        handlePending()
        afterInput()
    }

    private func afterInput() {
        guard channel.isOpen else { return }
        // `waitingInputLimit` is the lowest of all limits.
        if input.count < ClientConnection.waitingInputLimit || input.count < inputLimit {
            unpause(.inputFull)
        } else if isBlocked {
            closeAtInputLimit()
            return
        } else {
            pause(.inputFull)
        }
        if input.capacity > ClientConnection.inputLimit || extras != nil { countInput() }
        if inputEnded || isLeaving { finishIfDone() }
    }

    func pause(_ reason: Pauses) {
        pauses.insert(reason)
        if !inputEnded, channel.isOpen, !pauses.contains(.frozen) { channel.pauseReading() }
    }

    func unpause(_ reason: Pauses) {
        guard pauses.contains(reason) else { return }
        pauses.remove(reason)
        if pauses.isEmpty, !inputEnded, channel.isOpen { channel.startReading() }
    }

    /// Another program may take it over: nothing is read of it until `thaw`.
    func freeze() {
        guard channel.isOpen else { return }
        pauses.insert(.frozen)
        channel.stopReading()
    }

    func thaw() {
        guard channel.isOpen, pauses.contains(.frozen) else { return }
        pauses.remove(.frozen)
        if inputEnded { return }
        if pauses.isEmpty { channel.startReading() } else { channel.pauseReading() }
    }

    var isPausedByUpstream: Bool { pauses.contains(.upstreamFull) }

    /// The upstream accepts bytes again.
    func upstreamDrained() {
        unpause(.upstreamFull)
        // The upload stopped because of the upstream, not because of the client.
        if isUploading { lastActivity = worker.now.nanoseconds }
        worker.ready(self)
    }

    fileprivate func writable() {
        worker.updateNow()
        flush()
        if mode == .gathering { resumeOrder() }
    }
}

/// The kind and key of a lease.
struct Wanted: Equatable {
    let kind: LeaseKind
    let key: PoolKey
}

/// The wait for a lease.
struct LeaseWait: Equatable {
    let ticket: WaitTicket
    let wanted: Wanted
    /// The command may block. It is not worth a lease if the client has ended its input. Any other
    /// command still runs, as it does in Redis.
    let isBlocking: Bool
    let since: MonotonicTime
}

/// An upstream that the pool has granted and that is not used yet.
struct Grant {
    let upstream: UpstreamConnection
    let wanted: Wanted
}

private func clientReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ClientConnection>.fromOpaque(owner)._withUnsafeGuaranteedRef { $0.readable() }
}

private func clientWritable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ClientConnection>.fromOpaque(owner)._withUnsafeGuaranteedRef { $0.writable() }
}
