// Commands that a node has refused: they are sent to another node, or later. What becomes of one is
// decided by `Redirects`; here it is carried out.

import Config
import EventLoop
import Pool
import RESP
import Session
import Topology

extension ClientConnection {
    /// The client has commands in flight on this upstream.
    func uses(_ upstream: UpstreamConnection) -> Bool {
        guard channel.isOpen else { return false }
        if let strands { return strands.has(upstream) }
        return self.upstream === upstream
    }

    /// The strands of this client, if one of them is on this upstream.
    func strands(over upstream: UpstreamConnection) -> ClientStrands? {
        guard channel.isOpen, let strands, strands.has(upstream) else { return nil }
        return strands
    }

    /// A node has refused the oldest command on a shared upstream.
    func redirectShared(_ refused: RefusedReply, from own: UpstreamConnection) {
        guard let strands = strands ?? beginStrands(on: own, under: nil) else {
            // Something behind it cannot have a place.
            let bytes = refused.reply
            own.deliver(own.inFlight.first, bytes)
            return
        }
        let place = own.inFlight.first.value
        if own.inFlight.first.count > 1, let next = strands.order.nextPlace(after: place) {
            own.inFlight.first.value = next
        }
        own.finishRefused()
        judge(refused, at: place, strands, from: own)
        sendHeldCommands(strands)
        settleStrands(strands)
    }

    /// Decides what becomes of a refused command.
    ///
    /// - Parameter isConfirmed: the node refuses its keys too.
    func judge(
        _ refused: RefusedReply, at place: UInt32, _ strands: ClientStrands,
        from own: UpstreamConnection, isConfirmed: Bool = false
    ) {
        if own.origin.isReadOnly, judgeReplica(refused, at: place, strands, from: own) { return }
        let mayBeMadeUp = CommandTable.runsScript(refused.command)
        // What a script says must not name nodes.
        let target =
            isConfirmed || !mayBeMadeUp
            ? pool.learn(refused.refusal, slot: strands.order.slot(of: place)) : nil
        var command = RefusedCommand(place: place)
        command.canBeSent = refused.bytes != nil
        command.mayMakeUpErrors = mayBeMadeUp
        command.isConfirmed = isConfirmed
        let action = strands.redirects.judge(
            refused.refusal, of: command, to: target?.number, in: strands.order,
            version: pool.mapVersion, now: worker.now)
        if case .confirm(let asking) = action {
            guard let question = refused.question(worker.table) else {
                return relay(refused, at: place, strands)
            }
            strands.confirms[place] = refused
            own.server.machine.add(own.id, .shared)
            own.askWhether(question, for: id, at: place, asking: asking)
            return
        }
        carryOut(action, refused, at: place, strands)
    }

    /// The node has answered whether it refuses the keys of a script.
    func confirmed(_ reply: [UInt8], at place: UInt32, from own: UpstreamConnection) {
        guard let strands, let refused = strands.confirms.removeValue(forKey: place) else { return }
        if let real = refused.confirmed(by: reply, of: own) {
            judge(real, at: place, strands, from: own, isConfirmed: true)
        } else if let text = doubt(about: refused, from: own) {
            answer(text, at: place, strands)
        } else {
            relay(refused, at: place, strands)
        }
        sendHeldCommands(strands)
        settleStrands(strands)
    }

    /// What a client is told whose script was answered as the node would refuse it, by a node that
    /// serves its keys now: the slot may have come back meanwhile. Nil if only a script says that.
    func doubt(about refused: RefusedReply, from own: UpstreamConnection) -> String? {
        guard let slot = refused.refusal.slot, let bytes = refused.bytes,
            worker.table.slot(of: bytes) == slot
        else { return nil }
        switch refused.refusal {
        case .moved(_, let address), .ask(_, let address):
            let isOther = pool.servers.contains {
                $0 !== own.server && $0.node.address == address
            }
            return isOther ? RedirectEnd.inDoubt(slot: slot).text(pool: pool.config.name) : nil
        default: return nil
        }
    }

    func carryOut(
        _ action: RedirectAction, _ refused: RefusedReply, at place: UInt32,
        _ strands: ClientStrands
    ) {
        switch action {
        case .send, .hold:
            guard let bytes = refused.bytes, strands.order.hold(place, command: bytes.span) else {
                return relay(refused, at: place, strands)
            }
        case .confirm, .relay: relay(refused, at: place, strands)
        case .answer(let end): answer(end.text(pool: pool.config.name), at: place, strands)
        }
    }

    private func relay(_ refused: RefusedReply, at place: UInt32, _ strands: ClientStrands) {
        refused.reply.withUnsafeBytes { raw in
            let buffer = raw.assumingMemoryBound(to: UInt8.self)
            pass(strands.order.take(buffer.span, of: place, isComplete: true), raw, strands)
        }
    }

    /// Sends held commands as far as they can go, one after the other.
    func sendHeldCommands(_ strands: ClientStrands) {
        guard channel.isOpen, strands.order.heldCount > 0 else { return }
        if case .closing = mode { return }
        if case .waiting(let wait) = mode {
            // The command at the head of the input waits; a held one comes first.
            guard strands.wanted == nil else { return }
            giveUp(wait)
        }
        if let text = refusal, let place = strands.wanted {
            refusal = nil
            answer(text, at: place, strands, times: strands.takeReplies(of: place))
        }
        strands.wanted = nil
        while channel.isOpen,
            let held = strands.redirects.next(
                in: strands.order, version: pool.mapVersion, now: worker.now)
        {
            let slot = strands.order.slot(of: held.place)
            let owner = Int(slot) < Slot.count ? pool.owner(of: slot) : anyServer
            guard let target = target(of: held, owner, strands), target.departure == nil else {
                find(held, owner, strands)
                continue
            }
            turn(to: target)
            upstream = strands.upstream(on: target.number)
            if upstream == nil {
                switch leaseAtPlace(.shared) {
                case .granted(let own):
                    own.share()
                    strands.add(own, on: target.number)
                    upstream = own
                case .waits:
                    strands.wanted = held.place
                    return
                case .refused(let text):
                    answer(
                        text, at: held.place, strands,
                        times: strands.takeReplies(of: held.place))
                    continue
                }
            } else if let upstream {
                upstream.server.machine.add(upstream.id, .shared)
            }
            send(held, strands)
        }
        pauseHeld(strands)
    }

    /// The node of a held command has left the cluster: the command goes to the owner of its slot,
    /// or waits until there is one.
    private func find(_ held: HeldCommand, _ owner: Server?, _ strands: ClientStrands) {
        let present = owner?.departure == nil ? owner : nil
        let action = strands.redirects.judge(
            .notReceived, of: RefusedCommand(place: held.place), to: present?.number,
            in: strands.order, version: pool.mapVersion, now: worker.now)
        if action == .hold { return }
        answer(
            ClusterWords.notServed, at: held.place, strands,
            times: strands.takeReplies(of: held.place))
    }

    /// Sends a held command over the strand on its node.
    private func send(_ held: HeldCommand, _ strands: ClientStrands) {
        guard let own = upstream else { return }
        var bytes: [UInt8] = []
        guard strands.order.send(held.place, to: own.server.number, into: &bytes) else { return }
        if held.asking { own.sendAsking() }
        if let block = strands.blocks[held.place] {
            noteWrite(own)
            own.send(block, of: id, at: held.place)
            if own.isFull(for: self) { pause(.upstreamFull) }
            return
        }
        let command = worker.table.command(of: bytes)
        bytes.withUnsafeBytes { send($0, at: held.place, command, over: own, isLone: true) }
    }

    /// Held commands that wait for a time or for another map are looked at then.
    private func pauseHeld(_ strands: ClientStrands) {
        guard strands.order.heldCount > 0 else { return }
        pool.route?.pause(self)
        if let due = strands.redirects.nextDeadline(in: strands.order, now: worker.now) {
            pool.route?.wake(at: due)
        }
    }

    // MARK: Losses

    /// The node of a placed command is lost. `bytes` is the command if it provably was not
    /// received; else `text` is its answer.
    func lost(_ place: UInt32, _ bytes: [UInt8]?, _ text: String) {
        guard let strands, channel.isOpen else { return }
        guard strands.order.canMove(place) else {
            upstreamLost()
            return
        }
        if let bytes {
            let slot = strands.order.slot(of: place)
            let owner = Int(slot) < Slot.count ? pool.owner(of: slot) : pool.primary
            let action = strands.redirects.judge(
                .notReceived, of: RefusedCommand(place: place), to: owner?.number,
                in: strands.order, version: pool.mapVersion, now: worker.now)
            switch action {
            case .send, .hold:
                if strands.order.hold(place, command: bytes.span) { return }
            default: break
            }
        }
        if pool.config.onUpstreamLoss == .error {
            answer(text, at: place, strands, times: strands.takeReplies(of: place))
        } else {
            upstreamLost()
        }
    }

    /// An upstream with commands of this client that have places is gone.
    func lostStrand(_ own: UpstreamConnection) {
        guard let strands, channel.isOpen else { return }
        strands.remove(own)
        if upstream === own { upstream = nil }
        settleStrands(strands)
        // Held commands go later: the pool could still lend the upstream that is going.
        worker.ready(self)
    }
}

extension UpstreamConnection {
    /// The next command may use a slot that this node is taking over.
    func sendAsking() {
        expect(UpstreamConnection.nobody, .ignored, bytes: UpstreamConnection.asking.count)
        sendOwn(UpstreamConnection.asking)
    }

    private static let asking = Array("*1\r\n$6\r\nASKING\r\n".utf8)
}
