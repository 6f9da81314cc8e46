// What few clients have, or have for a moment only. Ten thousand idle connections pay for every
// byte of `ClientConnection`; these are allocated for a client when it first needs one of them.

import EventLoop
import Pool
import RESP
import Session

/// The rare part of a client's state.
final class ClientExtras {
    var identity = ClientIdentity()
    var changes: [IdentityChange] = []
    var login: PendingLogin?
    var order: ClientOrder?
    var isOrderParked = false
    var pipeHead: [UInt8]?
    var members: [QueuedMember] = []
    var hasQueuedStranger = false
    var redirection: UInt64 = 0
    var askedRedirection: UInt64 = 0
    var retryUntil: MonotonicTime?
    var awaitsReturn = false
    var limitCheck: LimitCheck?
    var slowSince: LimitCheck?
    var askedName: [UInt8] = []
    var lesson: UnknownCommands.Kind?
    var refusal: String?
    var placeInLine = PlaceInLine.none
    var awaitsScripts = false
    var lockAnswer: [UInt8]?
    var monitorFilter: MonitorFilter?
    var trackers: Set<UInt64> = []
    var keptInput = 0
    /// Bytes of the above that count among what is kept for clients.
    var counted = 0

    /// Bytes of what a client can make long, but for those that every client may have. The rest is
    /// short, or belongs to one that holds an upstream.
    fileprivate var size: Int {
        let size =
            identity.size + (login?.size ?? 0) + changes.reduce(0) { $0 + $1.size }
            + (order?.size ?? 0)
        return max(0, size - ClientExtras.free)
    }

    private static let free = 512
}

/// The scanner of a command that has not come whole.
final class UnfinishedCommand {
    var scanner: CommandScanner

    init(_ scanner: CommandScanner) {
        self.scanner = scanner
    }
}

extension ClientConnection {
    /// Where the command at the head of the input is cut. Between two commands it is in its first
    /// state and nothing is kept of it.
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

    private var ownExtras: ClientExtras {
        if let extras { return extras }
        let made = ClientExtras()
        extras = made
        return made
    }

    /// What the client has called itself.
    var identity: ClientIdentity {
        get { extras?.identity ?? ClientIdentity() }
        set {
            ownExtras.identity = newValue
            countExtras()
        }
    }

    /// Changes of identity whose replies are still to come.
    var changes: [IdentityChange] {
        get { extras?.changes ?? [] }
        _modify {
            defer { countExtras() }
            yield &ownExtras.changes
        }
    }

    /// Credentials whose reply is still to come.
    var login: PendingLogin? {
        get { extras?.login }
        set {
            guard newValue != nil || extras != nil else { return }
            ownExtras.login = newValue
            countExtras()
        }
    }

    /// The CLIENT LIST or CLIENT KILL that has been sent and is not answered yet.
    var order: ClientOrder? {
        get { extras?.order }
        set {
            guard newValue != nil || extras != nil else { return }
            ownExtras.order = newValue
            countExtras()
        }
    }

    /// That waits until the client has read what there is for it.
    var isOrderParked: Bool {
        get { extras?.isOrderParked ?? false }
        set { if newValue || extras != nil { ownExtras.isOrderParked = newValue } }
    }

    /// What goes first into a pipe that is being opened, in place of the command at the head of
    /// the input.
    var pipeHead: [UInt8]? {
        get { extras?.pipeHead }
        set { if newValue != nil || extras != nil { ownExtras.pipeHead = newValue } }
    }

    /// Members of the open transaction whose elements of EXEC's array are looked at.
    var members: [QueuedMember] {
        get { extras?.members ?? [] }
        set { if !newValue.isEmpty || extras != nil { ownExtras.members = newValue } }
    }

    /// The server has queued a command of which nothing is known.
    var hasQueuedStranger: Bool {
        get { extras?.hasQueuedStranger ?? false }
        set { if newValue || extras != nil { ownExtras.hasQueuedStranger = newValue } }
    }

    /// The id of the client to which invalidations are redirected; 0 for none.
    var redirection: UInt64 {
        get { extras?.redirection ?? 0 }
        set { if newValue != 0 || extras != nil { ownExtras.redirection = newValue } }
    }

    /// The same, as a CLIENT TRACKING that is not answered yet has asked for it.
    var askedRedirection: UInt64 {
        get { extras?.askedRedirection ?? 0 }
        set { if newValue != 0 || extras != nil { ownExtras.askedRedirection = newValue } }
    }

    /// Until when unreceived commands are sent again; nil while nothing had to be.
    var retryUntil: MonotonicTime? {
        get { extras?.retryUntil }
        set { if newValue != nil || extras != nil { ownExtras.retryUntil = newValue } }
    }

    /// It is in the pool's list of those who wait for one particular connection.
    var awaitsReturn: Bool {
        get { extras?.awaitsReturn ?? false }
        set { if newValue || extras != nil { ownExtras.awaitsReturn = newValue } }
    }

    /// Set while more than `clientOutputLimit` waits for this client.
    var limitCheck: LimitCheck? {
        get { extras?.limitCheck }
        set { if newValue != nil || extras != nil { ownExtras.limitCheck = newValue } }
    }

    /// Since when it has been slow on its upstream.
    var slowSince: LimitCheck? {
        get { extras?.slowSince }
        set { if newValue != nil || extras != nil { ownExtras.slowSince = newValue } }
    }

    /// The unknown name that the server was asked about.
    var askedName: [UInt8] {
        get { extras?.askedName ?? [] }
        set { ownExtras.askedName = newValue }
    }

    /// What the server has said of an unknown name, when that holds only once.
    var lesson: UnknownCommands.Kind? {
        get { extras?.lesson }
        set { if newValue != nil || extras != nil { ownExtras.lesson = newValue } }
    }

    /// Why no upstream can be had for the command at the head of the input: its answer.
    var refusal: String? {
        get { extras?.refusal }
        set { if newValue != nil || extras != nil { ownExtras.refusal = newValue } }
    }

    /// Whether it waits in a line of its pool's.
    var placeInLine: PlaceInLine {
        get { extras?.placeInLine ?? .none }
        set { if newValue != .none || extras != nil { ownExtras.placeInLine = newValue } }
    }

    /// It is in the list of those who wait for an answer about scripts.
    var awaitsScripts: Bool {
        get { extras?.awaitsScripts ?? false }
        set { if newValue || extras != nil { ownExtras.awaitsScripts = newValue } }
    }

    /// How the server refuses the command at the head of the input before a login.
    var lockAnswer: [UInt8]? {
        get { extras?.lockAnswer }
        set { if newValue != nil || extras != nil { ownExtras.lockAnswer = newValue } }
    }

    /// Bytes of its input that count in what waits for all clients.
    var keptInput: Int {
        get { extras?.keptInput ?? 0 }
        set { if newValue != 0 || extras != nil { ownExtras.keptInput = newValue } }
    }

    /// Set while it monitors.
    var monitorFilter: MonitorFilter? {
        get { extras?.monitorFilter }
        set { if newValue != nil || extras != nil { ownExtras.monitorFilter = newValue } }
    }

    /// Clients whose invalidations are redirected to this one.
    var trackers: Set<UInt64> {
        get { extras?.trackers ?? [] }
        set { ownExtras.trackers = newValue }
    }

    /// Everything that was asked on a connection that is gone.
    func forgetQuestions() {
        guard let extras else { return }
        extras.changes = []
        extras.order = nil
        extras.isOrderParked = false
        extras.login = nil
        countExtras()
    }

    /// Has what this client makes Redpool remember count like replies that wait for it.
    private func countExtras() {
        guard let extras, channel.isOpen else { return }
        let size = extras.size
        worker.countExtras(size - extras.counted)
        extras.counted = size
    }

    /// The client is closed.
    func uncountExtras() {
        guard let extras else { return }
        worker.countExtras(-extras.counted)
        extras.counted = 0
    }

    /// Bytes of that.
    var extraBytes: Int { extras?.counted ?? 0 }
}
