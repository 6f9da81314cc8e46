// Fences on this connection. A fence proves that replies are matched with the right commands. A
// wrong reply in its place shows that clients get each other's replies, so the connection and its
// clients are closed. An error proves nothing. A fence has no deadline, because a slow, paused or
// stopped server proves nothing either.

import Config
import Pool
import RESP
import Session

/// The number that goes with a fence's expectation.
struct FenceTraits: OptionSet {
    let rawValue: UInt32

    /// The pool counts its reply as that of a command.
    static let isCommand = FenceTraits(rawValue: 1)
    /// An error in its place does not keep the connection from being used again.
    static let mayFail = FenceTraits(rawValue: 2)
    /// The pool counts it as a fence.
    static let isOurs = FenceTraits(rawValue: 4)
}

extension UpstreamConnection {
    /// A fence can be sent: this user has a form for it, and none is in flight.
    var canFence: Bool {
        stage == .ready && fence == nil && server.fences[key.user] != .none
    }

    /// Sends a fence behind everything that is queued; only if `canFence`.
    ///
    /// With a client's id it counts as one more command in flight of that client. The caller adds
    /// it to `client.inFlight`; the pool's count is changed here. If an error comes in its place,
    /// nothing is proven, so a connection in sole use is spoiled unless the fence `mayFail`. With
    /// `nobody` it is Redpool's own.
    func sendFence(for client: SlotID, mayFail: Bool = false) {
        var traits: FenceTraits = mayFail || client == UpstreamConnection.nobody ? .mayFail : []
        if client != UpstreamConnection.nobody, isShared {
            traits.insert(.isCommand)
            server.machine.add(id)
        }
        appendFence(client, traits)
        worker.markDirty(self)
    }

    /// Nanoseconds between fences on a shared connection in constant use.
    private static let interval: Int64 = 1_000_000_000

    /// Sets the time of the next fence.
    func deferFence() {
        fenceDue = worker.now.nanoseconds + UpstreamConnection.interval
    }

    /// Called with the first write after `fenceDue`; sends a fence behind what is queued. A shared
    /// connection has only whole commands and blocks in its queue, because longer commands are
    /// streamed over connections of their own. If a reply went to the wrong client, its own client
    /// waits and writes nothing, so a fence is also sent when commands are in flight.
    @inline(never)
    func fenceIfDue() {
        guard stage == .ready, isShared, fence == nil, !output.isAllSent || !inFlight.isEmpty
        else { return }
        deferFence()
        guard canFence, server.machine.addFence(id) else { return }
        appendFence(UpstreamConnection.nobody, [.mayFail, .isOurs])
    }

    /// Commands are in flight, and nothing has come for so long that a fence is due.
    var isFenceOverdue: Bool {
        isShared && fence == nil && !inFlight.isEmpty && worker.now.nanoseconds >= fenceDue
            && worker.now - waitingSince > UpstreamConnection.interval - Worker.tickInterval
    }

    private func appendFence(_ client: SlotID, _ traits: FenceTraits) {
        let new = Fence(server.fences[key.user])
        expect(client, .fence, bytes: Fence.length, value: traits.rawValue)
        fence = new
        noteOwn(new)
        let command = new.command
        command.span.withUnsafeBytes {
            output.append($0.baseAddress!, count: $0.count, pool: worker.chunks)
        }
    }

    /// Takes bytes in place of the fence's reply.
    func takeFence(_ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, isComplete: Bool) {
        if scanner.isError {
            if isComplete { fenceRefused(entry) }
            return
        }
        let piece = UnsafeRawBufferPointer(start: bytes, count: count)
        guard fence?.matches(piece) == true else {
            misaligned()
            return
        }
        guard isComplete else { return }
        if origin.epoch == nil, ending.spoiled == nil { retireWhenFree(.serverUnknown) }
        needsNoLogin()
        finishFence(entry)
    }

    /// An error in place of the fence's reply. Most are temporary: LOADING, BUSY, NOAUTH. An
    /// unknown command and a missing right are not.
    private func fenceRefused(_ entry: InFlight) {
        if isRefusedForGood, isOfThisServer, let fence {
            server.fenceRefused(fence.form, to: key.user)
        }
        if !isShared, !FenceTraits(rawValue: entry.value).contains(.mayFail) {
            spoil(.dirty)
        }
        forgetScriptAnswer()
        finishFence(entry)
    }

    /// The error says that this user can never use the command.
    var isRefusedForGood: Bool {
        scanner.head.starts(with: "NOPERM") || scanner.head.starts(with: "ERR unknown comm")
    }

    private func finishFence(_ entry: InFlight) {
        let traits = FenceTraits(rawValue: entry.value)
        fence = nil
        finishHead()
        if traits.contains(.isOurs) {
            server.machine.finishFence(id)
            noteIfEmptied()
        } else if traits.contains(.isCommand) {
            countFinished(1)
        }
        if endsScriptQuestion() { return }
        if let client = worker.clients[entry.client], client.upstream === self {
            client.answered(1, from: self)
        } else {
            cleanOrphan()
        }
    }

    /// True if the last of these replies, which belong to another entry, is the fence's. Then one
    /// reply before it is missing. Nobody knows the digits, so no reply has them by chance.
    @inline(never)
    func isFenceAhead(_ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        // A login with a fence behind it may stay unanswered; see `takeFencedLogin`.
        guard count >= Fence.replyLength, let fence, entry.expectation != .fence,
            !entry.expectation.isLogin
        else {
            return false
        }
        var last = Fence(repeating: fence)
        return last.matches(
            UnsafeRawBufferPointer(
                start: bytes + (count - Fence.replyLength), count: Fence.replyLength))
    }

    /// The fence's reply is wrong. Earlier replies may have gone to the wrong clients too, so the
    /// connection is poisoned.
    private func misaligned() {
        if findsSplitReply() { return }
        ending.isMisaligned = true
        let name = fence?.form == .ping ? "PING" : "ECHO"
        poison("a wrong reply to \(name) with digits of ours: replies are out of step")
    }

    /// Extra time for commands behind an unanswered fence. Their wait is counted from the last tick
    /// that found only the fence in flight.
    var fenceAllowance: Int64 {
        fence != nil && inFlight.first.expectation == .fence ? Worker.tickInterval : 0
    }

    /// Only a fence is in flight, and no client has sent a command since. No deadline applies.
    var owesOnlyFence: Bool {
        guard fence != nil, inFlight.entries == 1 else { return false }
        return worker.clients[inFlight.first.client]?.input.isEmpty ?? true
    }
}

// MARK: - In the handshake

extension UpstreamConnection {
    /// Sends the first fence of a connection. No reply comes before its own, so it also shows which
    /// form the server knows.
    func sendFirstFence(_ form: FenceForm) {
        let new = Fence(form)
        fence = new
        noteOwn(new)
        let command = new.command
        command.span.withUnsafeBytes { send($0.baseAddress!, count: $0.count) }
    }

    /// False if these bytes show a wrong bulk. Its end is not waited for, because it can be of any
    /// length.
    func mayBeFence(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard case .fence = handshake.current, fence != nil, scanner.type == UInt8(ascii: "$")
        else { return true }
        return fence?.matches(bytes) == true
    }

    var wrongAnswer: String { "a wrong answer to \(handshake.currentName)" }

    /// Judges the reply to the first fence. Returns nil if the connection can be used.
    ///
    /// The server has to be alive, no more: clients see NOAUTH, LOADING and the like themselves.
    /// Errors about the connection are fatal: "max number of clients reached", DENIED. A status is
    /// the answer of a server that does not know this form, for example +PONG to PING with an
    /// argument.
    func judgeFence(_ form: FenceForm) -> String? {
        fence = nil
        let isStatus = scanner.type == UInt8(ascii: "+")
        guard scanner.isError || isStatus || form == .none else {
            let isRight = scanner.type == UInt8(ascii: "$")
            if isRight { noteForm(form) }
            return isRight ? nil : wrongAnswer
        }
        if form != .none, isStatus || isRefusedForGood || isRefusedArgument {
            server.fenceRefused(form, to: key.user)
            noteForm(server.fences[key.user])
            if let next = handshake.form, next != .none {
                handshake.steps.insert(.fence(next), at: handshake.index + 1)
            }
            return nil
        }
        guard scanner.isError, !isRefusedForGood else { return nil }
        let isFatal = scanner.head.starts(with: "ERR") || scanner.head.starts(with: "DENIED")
        return isFatal ? refusal() : nil
    }

    /// PING has no argument before Redis 2.8.
    private var isRefusedArgument: Bool { scanner.head.starts(with: "ERR wrong number") }

    private func noteForm(_ form: FenceForm) {
        handshake.form = form
        server.fences.found(form, for: key.user, now: worker.now)
    }
}
