// A fence proves that replies still belong to the commands that they are taken for: a command with
// random digits, and only the reply with those digits is right in its place. Any other one says that
// clients get each other's replies: the connection ends at once, and its clients with it. An error
// proves nothing, and there is no deadline: a server that is slow, paused or stopped is no finding.

import Config
import Pool
import RESP
import Session

/// What else is known of a fence in flight; the number of its expectation.
struct FenceTraits: OptionSet {
    let rawValue: UInt32

    /// Its reply is counted in the pool like that of a command.
    static let isCommand = FenceTraits(rawValue: 1)
    /// The connection may be used again although an error has come in its place.
    static let mayFail = FenceTraits(rawValue: 2)
    /// The pool counts it as a fence.
    static let isOurs = FenceTraits(rawValue: 4)
}

extension UpstreamConnection {
    /// A fence can be sent now: this user may send one, and none is in flight.
    var canFence: Bool {
        stage == .ready && fence == nil && server.fences[key.user] != .none
    }

    /// Sends a fence behind everything that is queued; only if `canFence`.
    ///
    /// One with a client's id counts as one more command of that client in flight, which the caller
    /// adds to `client.inFlight`; the pool's count is kept here. An error in its place spoils a
    /// connection that is not shared, as nothing is proven of it then, unless it `mayFail`. With
    /// `nobody` it is ours alone.
    func sendFence(for client: SlotID, mayFail: Bool = false) {
        var traits: FenceTraits = mayFail || client == UpstreamConnection.nobody ? .mayFail : []
        if client != UpstreamConnection.nobody, isShared {
            traits.insert(.isCommand)
            server.machine.add(id)
        }
        appendFence(client, traits)
        worker.markDirty(self)
    }

    /// Time between fences on a shared connection that is used all the time.
    private static let interval: Int64 = 1_000_000_000

    /// The next fence is due that much from now.
    func deferFence() {
        fenceDue = worker.now.nanoseconds + UpstreamConnection.interval
    }

    /// With the first write after `fenceDue`: a fence behind what is queued. On a shared connection
    /// that is whole commands and whole blocks, as what is longer streams through one of its own.
    /// What is in flight may wait for a reply that somebody else has had, so that nobody writes.
    @inline(never)
    func fenceIfDue() {
        guard stage == .ready, isShared, fence == nil, !output.isAllSent || !inFlight.isEmpty
        else { return }
        deferFence()
        guard canFence, server.machine.addFence(id) else { return }
        appendFence(UpstreamConnection.nobody, [.mayFail, .isOurs])
    }

    /// Something is in flight and nothing has come for so long that a fence is to go behind it.
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

    /// Bytes in the place of a fence's reply, which are complete with these or not.
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
        if origin.epoch == nil { retireWhenFree(.serverUnknown) }
        needsNoLogin()
        finishFence(entry)
    }

    /// An error in the place of a fence. Most pass: LOADING, BUSY, NOAUTH. That the command does not
    /// exist, or not for this user, does not.
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

    /// The error that has come says that the command will never be carried out for this user.
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
            client.answered(1)
        } else {
            cleanOrphan()
        }
    }

    /// True when the last of these replies, which belong to another entry, is that of the fence: one
    /// before it has not come. Nobody can have known its digits, so none has that value by chance.
    @inline(never)
    func isFenceAhead(_ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        // A login with a fence behind it may be left unanswered, see `takeFencedLogin`.
        guard entry.expectation != .fence, !entry.expectation.isLogin,
            count >= Fence.replyLength, let fence
        else {
            return false
        }
        var last = Fence(repeating: fence)
        return last.matches(
            UnsafeRawBufferPointer(
                start: bytes + (count - Fence.replyLength), count: Fence.replyLength))
    }

    /// Not the right reply: those before it may have been others' as well, so no client goes on as
    /// if only this one were lost.
    private func misaligned() {
        if findsSplitReply() { return }
        ending.isMisaligned = true
        let name = fence?.form == .ping ? "PING" : "ECHO"
        poison("a wrong reply to \(name) with digits of ours: replies are out of step")
    }

    /// What comes behind an unanswered fence waits since the tick that last found that fence alone,
    /// or since later: it has all its time.
    var fenceAllowance: Int64 {
        fence != nil && inFlight.first.expectation == .fence ? Worker.tickInterval : 0
    }

    /// All that is in flight is a fence, for which nobody waits but perhaps a client that has sent
    /// nothing since: no deadline applies.
    var owesOnlyFence: Bool {
        guard fence != nil, inFlight.entries == 1 else { return false }
        return worker.clients[inFlight.first.client]?.input.isEmpty ?? true
    }
}

// MARK: - In the handshake

extension UpstreamConnection {
    /// The first fence of a connection: nothing comes before it, so it also shows which form the
    /// server knows.
    func sendFirstFence(_ form: FenceForm) {
        let new = Fence(form)
        fence = new
        noteOwn(new)
        let command = new.command
        command.span.withUnsafeBytes { send($0.baseAddress!, count: $0.count) }
    }

    /// False when these bytes of a reply show that it is a wrong bulk. A server may send one of any
    /// length: it is not waited for.
    func mayBeFence(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard case .fence = handshake.current, fence != nil, scanner.type == UInt8(ascii: "$")
        else { return true }
        return fence?.matches(bytes) == true
    }

    var wrongAnswer: String { "a wrong answer to \(handshake.currentName)" }

    /// Nil when the answer to the first fence, which is no wrong bulk, lets the connection be used.
    ///
    /// Alive is enough: NOAUTH, LOADING and the like are for the clients to see. Errors that come
    /// instead of an answer are not: "max number of clients reached", DENIED. A status is the answer
    /// of a server that does not know this form: +PONG to PING, whatever its argument.
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

    /// PING had no argument before Redis 2.8.
    private var isRefusedArgument: Bool { scanner.head.starts(with: "ERR wrong number") }

    private func noteForm(_ form: FenceForm) {
        handshake.form = form
        server.fences.found(form, for: key.user, now: worker.now)
    }
}
