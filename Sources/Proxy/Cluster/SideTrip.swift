// A client that holds an upstream, for example because it watches a key, and whose next command is
// for another node. The command goes there alone; the held upstream is set aside meanwhile.

import Config
import Pool
import RESP
import Session
import Topology

extension ClientConnection {
    /// The held upstream while a command of the client is on another node; nil at other times.
    var aside: UpstreamConnection? {
        get { extras?.aside }
        set { if newValue != nil || extras != nil { ownExtras.aside = newValue } }
    }

    /// A command of a client that holds an upstream.
    func carryOutRoutedHeld(_ request: Request) -> Outcome {
        if session.isSendingTransaction {
            let outcome = carryOutRare(request)
            if outcome == .sent, request.command != .exec, request.command != .discard {
                noteMember(request)
            }
            return outcome
        }
        // The reply may be a refusal, and then those behind it would overtake it.
        if inFlight > 0 { return waitForReplies() }
        guard let held = upstream, let kind = placedKind(request), !isRestricted,
            !pool.denyList.refuses(request.command)
        else { return carryOutRare(request) }
        let slots = worker.table.slots(request.command, request.input.span, request.frame)
        guard case .one(let slot) = slots, let route = pool.route,
            let owner = route.owner(of: slot), owner !== held.server
        else { return carryOutRare(request) }
        setAside(held)
        guard let strands = openStrands(under: route.version) else {
            takeAsideBack()
            return carryOutRare(request)
        }
        return sendPlaced(kind, request, in: slot, to: owner, strands)
    }

    private func setAside(_ held: UpstreamConnection) {
        leaveSlowReaders(held)
        aside = held
        upstream = nil
    }

    /// Nothing is in flight on another node any more.
    func takeAsideBack() {
        guard let held = aside else { return }
        aside = nil
        guard held.holder === self else { return }
        upstream = held
        home(at: held.server)
    }

    /// The node of the held upstream has refused the command at hand, outside a transaction.
    func redirectHeld(_ refused: RefusedReply, from own: UpstreamConnection) {
        guard CommandTable.runsScript(refused.command) else {
            return followHeld(refused, from: own, isAnswered: false)
        }
        // The script may have made that up.
        guard inFlight == 1, let question = refused.question(worker.table) else {
            return own.deliver(own.inFlight.first, refused.reply)
        }
        own.finishRefused()
        ownExtras.soleRefusal = refused
        own.askWhether(question, for: id, at: 0, asking: false)
    }

    /// - Parameter isAnswered: nothing of the command is in flight any more.
    func followHeld(_ refused: RefusedReply, from own: UpstreamConnection, isAnswered: Bool) {
        let slot = refused.bytes.map { worker.table.slot(of: $0) } ?? PlaceSlot.unknown
        guard inFlight == 1, let bytes = refused.bytes, let route = pool.route else {
            let reply = refused.notKept(pool: pool.config.name) ?? refused.reply
            return own.deliver(own.inFlight.first, reply)
        }
        if !isAnswered { own.finishRefused() }
        inFlight = 0
        setAside(own)
        let target = learn(refused.refusal, slot: slot)
        guard let strands = openStrands(under: route.version) else { return upstreamLost() }
        let place = strands.order.openHeld(slot: slot, isSilent: refused.isSilent)
        _ = strands.order.hold(place, command: bytes.span)
        strands.commands[place] = refused.command
        inFlight = 1
        let action = strands.redirects.judge(
            refused.refusal, of: RefusedCommand(place: place), to: target?.number,
            in: strands.order, version: route.version, now: worker.now)
        switch action {
        case .send, .hold: break
        case .relay, .confirm:
            refused.reply.withUnsafeBytes { raw in
                pass(strands.order.answer(refused.reply.span, for: place), raw, strands)
            }
        case .answer(let end): answer(end.text(pool: pool.config.name), at: place, strands)
        }
        sendHeldCommands(strands)
        settleStrands(strands)
    }
}
