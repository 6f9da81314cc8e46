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
        let slots = worker.table.slots(request.command, request.input.span, request.frame)
        guard let held = upstream, !isRestricted, !pool.denyList.refuses(request.command),
            case .one(let slot) = slots, let route = pool.route,
            let owner = route.owner(of: slot), owner !== held.server
        else {
            // The command may have waited for an upstream of another node.
            if let upstream { turn(to: upstream.server) }
            return carryOutRare(request)
        }
        guard let kind = placedKind(request) else {
            guard let kind = scriptKind(request, at: owner) else { return carryOutRare(request) }
            switch kind {
            case .clean: return sendAside(.slow, request, in: slot, to: owner, held, route)
            case .unknown:
                owner.askAboutScripts(for: self)
                return waitForReplies()
            case .splits:
                return refuse(
                    "CROSSSLOT pool \(pool.config.name): this connection's state is on another "
                        + "node, and a script needs a connection of its own there")
            }
        }
        return sendAside(kind, request, in: slot, to: owner, held, route)
    }

    /// What is known of scripts at a node; nil for a command that runs none.
    private func scriptKind(_ request: Request, at owner: Server) -> ScriptTrust.Verdict? {
        guard CommandTable.runsScript(request.command),
            case .runScript = worker.table.plan(
                request.command, request.input.span, request.frame)
        else { return nil }
        return owner.scriptVerdict(for: key.user)
    }

    /// Sends a command to another node than that of the held upstream.
    private func sendAside(
        _ kind: LeaseKind, _ request: Request, in slot: UInt16, to owner: Server,
        _ held: UpstreamConnection, _ route: ClusterRoute
    ) -> Outcome {
        setAside(held)
        guard let strands = openStrands(under: route.version) else {
            takeAsideBack()
            return carryOutRare(request)
        }
        return sendPlaced(kind, request.bytes, in: slot, to: owner, strands)
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
        if let text = restriction(refused.command) {
            var reply: [UInt8] = []
            Encode.error(text, into: &reply)
            return own.deliver(own.inFlight.first, reply)
        }
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

    /// What a server says to a command of a RESP2 client that has subscriptions (Redis 7.0,
    /// server.c, processCommand). In a cluster it looks at slots first. Nil for other clients.
    private func restriction(_ command: Command) -> String? {
        guard key.protocolVersion == 2, (upstream?.hold?.subscriptions ?? 0) > 0 else { return nil }
        let name = worker.table.info(command)?.name ?? ""
        let kinds = server.facts.hasOldWords ? "P" : "P|S"
        return "ERR Can't execute '\(name)': only (\(kinds))SUBSCRIBE / "
            + "(\(kinds))UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
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
        let target = pool.learn(refused.refusal, slot: slot)
        guard let strands = openStrands(under: route.version) else { return upstreamLost() }
        let place = strands.order.openHeld(slot: slot, isSilent: refused.isSilent)
        _ = strands.order.hold(place, command: bytes.span)
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
