// A command that a node has refused on an upstream of the client's own, such as BLPOP or WATCH. It
// goes back to the input and is planned again: by the map that the refusal has changed, or later.

import Config
import EventLoop
import Pool
import RESP
import Session
import Topology

/// What becomes of a refused command that was alone in flight. `Redirects` is the same for commands
/// with places, and has the limits.
struct SoleRedirect {
    /// The command, until it is in the input again.
    var bytes: [UInt8] = []
    /// The node to which it goes behind ASKING, by its number; nil for the owner of its slot.
    private(set) var asking: UInt32?
    /// The node that MOVED or ASK has named, by its number.
    private(set) var node: UInt32?
    /// It is not planned before.
    private(set) var until: MonotonicTime?
    private let deadline: MonotonicTime
    /// MOVED and ASK since another answer.
    private var redirects = 0
    private var pauses: Int64 = 0

    /// - Parameter patience: how long it is tried again: `poolTimeout`.
    init(patience: Int64, now: MonotonicTime) { deadline = now + patience }

    /// Says what becomes of the command.
    ///
    /// - Parameter target: the node that MOVED or ASK names; nil if there is no room for it.
    mutating func follow(
        _ refusal: NodeRefusal, to target: UInt32?, now: MonotonicTime
    ) -> Verdict {
        asking = nil
        node = nil
        until = nil
        switch refusal {
        case .moved(let slot, let address), .ask(let slot, let address):
            redirects += 1
            guard redirects <= Redirects.mostInARow else {
                return .answer(.keepsMoving(slot: slot))
            }
            guard let target else { return .answer(.tooManyNodes(slot: slot, address)) }
            node = target
            let pause = Redirects.pause(behind: redirects)
            if pause > 0 { until = now + pause }
            if case .ask = refusal { asking = target }
            return .again
        case .tryAgain:
            let length = min(Redirects.shortestPause << min(pauses, 5), Redirects.longestPause)
            pauses += 1
            return pause(for: length, now)
        case .clusterDown: return pause(for: Redirects.downPause, now)
        case .notServing, .notReceived: return .relay
        }
    }

    private mutating func pause(for pause: Int64, _ now: MonotonicTime) -> Verdict {
        guard now + pause <= deadline else { return .relay }
        redirects = 0
        until = now + pause
        return .again
    }

    /// What becomes of a refused command.
    enum Verdict {
        case again
        /// The client gets the node's answer.
        case relay
        case answer(RedirectEnd)
    }
}

extension ClientConnection {
    /// The refused command of this client that is planned again; nil if there is none.
    var soleRedirect: SoleRedirect? {
        get { extras?.soleRedirect }
        set { if newValue != nil || extras != nil { ownExtras.soleRedirect = newValue } }
    }

    /// A node has refused the only command of this client, which has an upstream of its own.
    func redirectAlone(_ refused: RefusedReply, from own: UpstreamConnection) {
        guard CommandTable.runsScript(refused.command) else {
            return follow(refused, from: own, isAnswered: false)
        }
        guard let question = refused.question(worker.table) else {
            return own.deliver(own.inFlight.first, refused.reply)
        }
        let isAsking = soleRedirect?.asking != nil
        own.finishRefused()
        ownExtras.soleRefusal = refused
        own.askWhether(question, for: id, at: 0, asking: isAsking)
    }

    /// The node has answered whether it refuses the keys of a script.
    func confirmedAlone(_ reply: [UInt8], from own: UpstreamConnection) {
        guard let refused = extras?.soleRefusal else { return }
        extras?.soleRefusal = nil
        guard let real = refused.confirmed(by: reply, of: own) else {
            var text: [UInt8] = []
            if let doubt = doubt(about: refused, from: own) { Encode.error(doubt, into: &text) }
            let reply = text.isEmpty ? refused.reply : text
            return tell(reply, of: refused, from: own, isAnswered: true)
        }
        if own.hold?.isClean == false {
            followHeld(real, from: own, isAnswered: true)
        } else {
            follow(real, from: own, isAnswered: true)
        }
    }

    /// - Parameter isAnswered: nothing of the command is in flight any more.
    private func tell(
        _ reply: [UInt8], of refused: RefusedReply, from own: UpstreamConnection, isAnswered: Bool
    ) {
        guard isAnswered else { return own.deliver(own.inFlight.first, reply) }
        if !refused.isSilent {
            reply.withUnsafeBytes {
                if let base = $0.baseAddress { receive(base, count: $0.count) }
            }
        }
        answered(1, from: own)
    }

    /// - Parameter isAnswered: nothing of the command is in flight any more.
    private func follow(
        _ refused: RefusedReply, from own: UpstreamConnection, isAnswered: Bool
    ) {
        let slot = refused.bytes.map { worker.table.slot(of: $0) } ?? PlaceSlot.unknown
        let target = pool.learn(refused.refusal, slot: slot)
        var redirect =
            soleRedirect ?? SoleRedirect(patience: pool.config.poolTimeout, now: worker.now)
        var verdict = redirect.follow(refused.refusal, to: target?.number, now: worker.now)
        if case .again = verdict, refused.bytes == nil { verdict = .relay }
        switch verdict {
        case .again:
            redirect.bytes = refused.bytes ?? []
            soleRedirect = redirect
            if refused.isSilent { session.setReplyMode(.skipNext) }
            if !isAnswered { own.endRefused() }
            answered(1, from: own)
        case .relay:
            let text = refused.bytes == nil ? refused.notKept(pool: pool.config.name) : nil
            tell(text ?? refused.reply, of: refused, from: own, isAnswered: isAnswered)
        case .answer(let end):
            var bytes: [UInt8] = []
            Encode.error(end.text(pool: pool.config.name), into: &bytes)
            tell(bytes, of: refused, from: own, isAnswered: isAnswered)
        }
    }

    /// Called when nothing is in flight any more: puts a refused command back into the input.
    func takeRefusedBack() {
        guard var redirect = soleRedirect else { return }
        if redirect.bytes.isEmpty {
            soleRedirect = nil
            return
        }
        input.prepend(redirect.bytes, pool: worker.chunks)
        // A part of the next command may have come, and is not at the head of the input any more.
        scanner = CommandScanner()
        redirect.bytes = []
        soleRedirect = redirect
    }

    /// The head command was refused, and its time has not come.
    func mustPause(_ redirect: SoleRedirect) -> Bool {
        guard let until = redirect.until, worker.now < until, let route = pool.route else {
            return false
        }
        route.pause(self)
        route.wake(at: until)
        return true
    }
}

extension UpstreamConnection {
    /// The oldest command is refused, on a connection in sole use. If it would have begun a state,
    /// there is none.
    fileprivate func endRefused() {
        let entry = inFlight.first
        heldReplied(to: entry.expectation, ReplyFacts(scanner), value: entry.value)
        finishRefused()
    }

    /// Goes before a command of a client that the node of this connection has to be asked for.
    func askIfRefused(_ client: ClientConnection) {
        guard let asking = client.soleRedirect?.asking, asking == server.number else { return }
        sendAsking()
    }
}
