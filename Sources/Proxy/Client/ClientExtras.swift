// State that few clients have, or have only for a moment. It is allocated when a client first needs
// it, because 10,000 idle clients pay for every byte of `ClientConnection`.

import EventLoop
import Pool
import RESP
import Session

/// The rarely needed state of a client.
final class ClientExtras {
    var order: ClientOrder?
    var isOrderParked = false
    var pipeHead: [UInt8]?
    var retryUntil: MonotonicTime?
    var awaitsReturn = false
    var limitCheck: LimitCheck?
    var slowSince: LimitCheck?
    var askedName: [UInt8] = []
    var lesson: UnknownCommands.Kind?
    var refusal: String?
    var longWait: LongWait?
    var placeInLine = PlaceInLine.none
    var awaitsScripts = false
    var lockAnswer: [UInt8]?
    var monitorFilter: MonitorFilter?
    var trackers: Set<UInt64> = []
    var keptInput = 0
    var loggedOutAt: UInt64 = 0
    var acceptedHello: [[UInt8]]?
    var hasOldInput = false
    var strands: ClientStrands?
    var soleRedirect: SoleRedirect?
    var soleRefusal: RefusedReply?
    var tour: NodeTour?
    var openMulti: OpenMulti?
    var aside: UpstreamConnection?
    var reads = ReplicaReads()
    /// The head command is long, and is kept until it is whole.
    var collectsAsk = false
    var openFrame: OpenFrame?
    /// Bytes that Redpool remembers for the client and that count as its output.
    var counted = 0
}

/// The scanner of an incomplete command.
final class UnfinishedCommand {
    var scanner: CommandScanner

    init(_ scanner: CommandScanner) {
        self.scanner = scanner
    }
}

extension ClientConnection {
    /// The position inside an incomplete head command. Between two commands it is in its initial
    /// state and is not stored.
    var scanner: CommandScanner {
        get { unfinished?.scanner ?? CommandScanner() }
        set { keep(newValue) }
        _modify {
            var scanner = unfinished?.scanner ?? CommandScanner()
            defer { keep(scanner) }
            yield &scanner
        }
    }

    @inline(__always)
    private func keep(_ scanner: CommandScanner) {
        if scanner.isBetweenFrames {
            if unfinished != nil { unfinished = nil }
        } else if let unfinished {
            unfinished.scanner = scanner
        } else {
            unfinished = UnfinishedCommand(scanner)
        }
    }

    var ownExtras: ClientExtras {
        if let extras { return extras }
        let made = ClientExtras()
        extras = made
        return made
    }

    /// A CLIENT LIST or CLIENT KILL that is not answered yet.
    var order: ClientOrder? {
        get { extras?.order }
        set {
            guard newValue != nil || extras != nil else { return }
            ownExtras.order = newValue
            countKept()
        }
    }

    /// The order waits until the client has read its output.
    var isOrderParked: Bool {
        get { extras?.isOrderParked ?? false }
        set { if newValue || extras != nil { ownExtras.isOrderParked = newValue } }
    }

    /// Bytes that go first into a pipe that is being opened, in place of the head command.
    var pipeHead: [UInt8]? {
        get { extras?.pipeHead }
        set { if newValue != nil || extras != nil { ownExtras.pipeHead = newValue } }
    }

    /// Until when commands that did not reach a server are sent again; nil if none failed.
    var retryUntil: MonotonicTime? {
        get { extras?.retryUntil }
        set { if newValue != nil || extras != nil { ownExtras.retryUntil = newValue } }
    }

    /// The client is in its server's list of clients that wait for one particular upstream.
    var awaitsReturn: Bool {
        get { extras?.awaitsReturn ?? false }
        set { if newValue || extras != nil { ownExtras.awaitsReturn = newValue } }
    }

    /// Set while the client is over its output limit.
    var limitCheck: LimitCheck? {
        get { extras?.limitCheck }
        set { if newValue != nil || extras != nil { ownExtras.limitCheck = newValue } }
    }

    /// Since when the client has been slow on its upstream.
    var slowSince: LimitCheck? {
        get { extras?.slowSince }
        set { if newValue != nil || extras != nil { ownExtras.slowSince = newValue } }
    }

    /// The unknown name in a question to the server.
    var askedName: [UInt8] {
        get { extras?.askedName ?? [] }
        set { ownExtras.askedName = newValue }
    }

    /// What the server has said about an unknown name, if that holds for one command only.
    var lesson: UnknownCommands.Kind? {
        get { extras?.lesson }
        set { if newValue != nil || extras != nil { ownExtras.lesson = newValue } }
    }

    /// The error of a refused lease; the answer to the head command.
    var refusal: String? {
        get { extras?.refusal }
        set { if newValue != nil || extras != nil { ownExtras.refusal = newValue } }
    }

    /// The last command's wait for its upstream, if that was long.
    var longWait: LongWait? {
        get { extras?.longWait }
        set { if newValue != nil || extras != nil { ownExtras.longWait = newValue } }
    }

    /// Whether the client waits in a line of its server.
    var placeInLine: PlaceInLine {
        get { extras?.placeInLine ?? .none }
        set { if newValue != .none || extras != nil { ownExtras.placeInLine = newValue } }
    }

    /// The client waits for the answer to a question about scripts.
    var awaitsScripts: Bool {
        get { extras?.awaitsScripts ?? false }
        set { if newValue || extras != nil { ownExtras.awaitsScripts = newValue } }
    }

    /// The server's refusal of the head command before a login.
    var lockAnswer: [UInt8]? {
        get { extras?.lockAnswer }
        set { if newValue != nil || extras != nil { ownExtras.lockAnswer = newValue } }
    }

    /// Bytes of input that are counted in the sum over all clients.
    var keptInput: Int {
        get { extras?.keptInput ?? 0 }
        set { if newValue != 0 || extras != nil { ownExtras.keptInput = newValue } }
    }

    /// How many bytes of replies the client had been sent, or was to be sent, when RESET logged it
    /// out.
    var loggedOutAt: UInt64 {
        get { extras?.loggedOutAt ?? 0 }
        set { if newValue != 0 || extras != nil { ownExtras.loggedOutAt = newValue } }
    }

    /// The HELLO at the head of the input without its credentials, which Redpool has accepted,
    /// while it waits.
    var acceptedHello: [[UInt8]]? {
        get { extras?.acceptedHello }
        set { if newValue != nil || extras != nil { ownExtras.acceptedHello = newValue } }
    }

    /// Input of the client waited when Redpool ceased to judge logins.
    var hasOldInput: Bool {
        get { extras?.hasOldInput ?? false }
        set { if newValue || extras != nil { ownExtras.hasOldInput = newValue } }
    }

    /// Set while the client monitors.
    var monitorFilter: MonitorFilter? {
        get { extras?.monitorFilter }
        set { if newValue != nil || extras != nil { ownExtras.monitorFilter = newValue } }
    }

    /// The ids of clients whose invalidations go to this one.
    var trackers: Set<UInt64> {
        get { extras?.trackers ?? [] }
        set { ownExtras.trackers = newValue }
    }

    /// Drops the unanswered questions of an upstream that is gone.
    func forgetQuestions() {
        session.forgetQuestions()
        if let extras {
            extras.order = nil
            extras.isOrderParked = false
        }
        countKept()
    }

    /// Counts what Redpool remembers for this client like output. The number of these bytes is the
    /// client's choice; a few are free for every client. All other state is short, or exists only
    /// while the client holds an upstream.
    func countKept() {
        guard channel.isOpen else { return }
        let kept = session.size + (order?.size ?? 0)
        let size = max(0, kept - ClientConnection.free)
        let counted = extras?.counted ?? 0
        guard size != counted else { return }
        worker.countExtras(size - counted)
        ownExtras.counted = size
    }

    /// Bytes that are free for every client.
    private static let free = 512

    /// Called when the client is closed.
    func uncountKept() {
        guard let extras else { return }
        worker.countExtras(-extras.counted)
        extras.counted = 0
    }

    /// Bytes that `countKept` has counted, and those of commands that hubs have not answered.
    var extraBytes: Int { (extras?.counted ?? 0) + (subscribing?.asked ?? 0) }
}
