// A whole MULTI ... EXEC in front of a cluster. It has one place: its replies are kept until that
// of EXEC begins, so that it can go to another node as a whole if the first one refuses a member.

import Config
import Pool
import RESP
import Session
import Topology

/// A block in flight, or held.
struct PlacedBlock {
    /// MULTI, the members and EXEC.
    let bytes: [UInt8]
    /// Where EXEC begins in them.
    let execStart: Int
    /// The number of commands between MULTI and EXEC.
    let members: Int
    /// All its keys are in one slot: it can run on one node.
    let canMove: Bool
    /// The client has the replies before EXEC's already.
    var hidesMembers = false
    /// The replies before EXEC's.
    var collected: [UInt8] = []
    /// EXEC's reply has begun to go out.
    var isPassing = false
    /// What the node has answered to the first member that it has refused.
    var refusal: NodeRefusal?

    /// More than all members of a block can be answered with before EXEC, errors included.
    static let mostCollected = 8 << 20

    /// How many replies the client gets.
    var replies: Int { hidesMembers ? 1 : members + 2 }

    /// `collected`, with this error in place of each refusal of the node.
    func reworded(_ text: String) -> [UInt8] {
        var output: [UInt8] = []
        var scanner = ReplyScanner()
        var position = 0
        // Behind an error of the node's, a member is queued and not run.
        var isDoomed = false
        while position < collected.count,
            case .complete(let end) = scanner.scan(collected.span, from: position)
        {
            if !scanner.isError || !NodeRefusal.mayBegin(with: scanner.head) {
                output += collected[position..<end]
                isDoomed = isDoomed || scanner.isError
            } else if isDoomed {
                output += OpenMulti.queued
            } else {
                Encode.error(text, into: &output)
            }
            position = end
        }
        return output
    }

    /// It is sent to another node.
    mutating func beginAgain() {
        collected = []
        refusal = nil
    }
}

extension ClientConnection {
    /// The slot of a block's keys, and whether all have the same; nil if it has none.
    private func slot(
        of block: Block, from start: Int, _ bytes: Span<UInt8>
    ) -> (slot: UInt16, isOne: Bool)? {
        var scanner = CommandScanner()
        var position = start
        var found: UInt16?
        var isOne = true
        while position < block.execStart,
            case .command(let frame) = scanner.scan(
                bytes, frameStart: position, limits: worker.limits.loggedIn)
        {
            position = frame.end
            switch worker.table.slots(worker.table.find(bytes, frame), bytes, frame) {
            case .none: break
            case .one(let slot):
                if let found, found != slot { isOne = false }
                found = found ?? slot
            case .several(let first):
                isOne = false
                found = found ?? first
            case .malformed: isOne = false
            }
        }
        return found.map { ($0, isOne) }
    }

    /// Sends the block that begins with the MULTI in `first`, to the node of its first key. Nil if
    /// there is none that can be sent whole.
    func forwardRoutedBlock(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, _ first: CommandFrame
    ) -> (outcome: Outcome, end: Int)? {
        // A held upstream that is set aside has the client's WATCH.
        guard case .open = mode, !isHolding, aside == nil, refusal == nil, openMulti == nil,
            !pool.isPaused, let route = pool.route, var block = findBlock(buffer, after: first)
        else { return nil }
        let keys = slot(of: block, from: first.end, buffer.span)
        let target = keys.map { route.owner(of: $0.slot) } ?? anyServer
        guard let target else { return nil }
        if target !== server {
            // What may stand in a block is a matter of the node.
            turn(to: target)
            guard let again = findBlock(buffer, after: first) else { return nil }
            block = again
        }
        guard let strands = openStrands(under: route.version) else {
            return (waitForReplies(), block.end)
        }
        let bytes = [UInt8](
            UnsafeRawBufferPointer(
                rebasing: UnsafeRawBufferPointer(buffer)[first.start..<block.end]))
        let placed = PlacedBlock(
            bytes: bytes, execStart: block.execStart - first.start, members: block.members,
            canMove: keys?.isOne ?? true)
        worker.turn.spend(Turn.special + block.members)
        return (begin(placed, in: keys?.slot ?? PlaceSlot.none, at: target, strands), block.end)
    }

    /// Gives a block its place, and sends it as soon as there is an upstream.
    func begin(
        _ block: PlacedBlock, in slot: UInt16, at target: Server, _ strands: ClientStrands,
        isSilent: Bool = false
    ) -> Outcome {
        let place = strands.order.openHeld(slot: slot, isSilent: isSilent)
        _ = strands.order.hold(place, command: block.bytes.span)
        strands.blocks[place] = block
        _ = strands.redirects.judge(
            .notReceived, of: RefusedCommand(place: place), to: target.number,
            in: strands.order, version: pool.mapVersion, now: worker.now)
        inFlight = UInt32(truncatingIfNeeded: strands.order.count)
        pool.traffic.commandsShared += UInt64(block.members) + 2
        counted.commands &+= UInt64(block.members) + 2
        sendHeldCommands(strands)
        settleStrands(strands)
        return .sent
    }

    /// A node has refused a member of a block, and so all of it.
    func redirect(
        _ block: PlacedBlock, _ refusal: NodeRefusal, _ exec: [UInt8], at place: UInt32,
        _ strands: ClientStrands
    ) {
        let target = pool.learn(refusal, slot: strands.order.slot(of: place))
        let action = strands.redirects.judge(
            refusal, of: RefusedCommand(place: place), to: target?.number, in: strands.order,
            version: pool.mapVersion, now: worker.now)
        switch action {
        case .send, .hold:
            if strands.order.hold(place, command: block.bytes.span) {
                strands.blocks[place]?.beginAgain()
                break
            }
            end(block, block.collected, exec, at: place, strands)
        case .relay, .confirm: end(block, block.collected, exec, at: place, strands)
        case .answer(let reason):
            let text = reason.text(pool: pool.config.name)
            end(block, block.reworded(text), exec, at: place, strands)
        }
        sendHeldCommands(strands)
    }

    /// The client gets the replies to a block that no node runs.
    private func end(
        _ block: PlacedBlock, _ members: [UInt8], _ exec: [UInt8], at place: UInt32,
        _ strands: ClientStrands
    ) {
        strands.blocks[place] = nil
        let reply = members + ClientConnection.execError(exec)
        reply.withUnsafeBytes { raw in
            pass(strands.order.take(reply.span, of: place, isComplete: true), raw, strands)
        }
    }

    /// What the client gets of EXEC's error: a node's MOVED means that it has run nothing.
    private static func execError(_ reply: [UInt8]) -> [UInt8] {
        var scanner = ReplyScanner()
        guard case .complete = scanner.scan(reply.span, from: 0),
            scanner.head.starts(with: "MOVED ") || scanner.head.starts(with: "ASK ")
        else { return reply }
        return Array("-\(ClusterWords.aborted)\r\n".utf8)
    }
}

extension UpstreamConnection {
    /// Sends a block of a client that has leased this connection for its MULTI.
    func send(_ block: PlacedBlock, of client: SlotID, at place: UInt32) {
        expect(
            client, .placedBlock, count: UInt32(truncatingIfNeeded: block.members + 1),
            bytes: block.execStart, value: place, command: .multi)
        expect(
            client, .placedExec, bytes: block.bytes.count - block.execStart, value: place,
            command: .exec)
        for _ in 0...block.members { server.machine.add(id) }
        send(block.bytes)
    }

    /// An error in the place of a member's reply, or of EXEC's, may say that the block has not run.
    func noteRefusedMember(_ entry: InFlight, _ bytes: UnsafeRawBufferPointer) {
        guard entry.expectation == .placedBlock || entry.expectation == .placedExec,
            NodeRefusal.mayBegin(with: scanner.head), let node = server.node.address,
            let refusal = NodeRefusal([UInt8](bytes), from: node),
            let client = worker.clients[entry.client], client.uses(self),
            let strands = client.strands, let block = strands.blocks[entry.value],
            block.refusal == nil
        else { return }
        strands.blocks[entry.value]?.refusal = refusal
    }

    /// Takes replies to a block, or a part of one.
    @inline(never)
    func deliverBlock(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, _ finished: UInt32
    ) {
        let isError = finished > 0 && scanner.isError
        if finished > 0 {
            finishHead(finished)
            countFinished(finished)
        }
        guard let client = worker.clients[entry.client], client.uses(self),
            let strands = client.strands
        else { return }
        let piece = UnsafeRawBufferPointer(start: bytes, count: count)
        if entry.expectation == .placedBlock {
            guard strands.blocks[entry.value]?.hidesMembers == false else { return }
            let kept = strands.blocks[entry.value]?.collected.count ?? 0
            guard kept + count <= PlacedBlock.mostCollected else { return client.closeAtLimit() }
            strands.blocks[entry.value]?.collected += piece
            return
        }
        client.receiveExec(piece, isError: isError, isComplete: finished > 0, of: entry.value)
    }
}

extension ClientConnection {
    /// Takes EXEC's reply to a block, or a part of it.
    fileprivate func receiveExec(
        _ bytes: UnsafeRawBufferPointer, isError: Bool, isComplete: Bool, of place: UInt32
    ) {
        guard let strands, let block = strands.blocks[place] else { return }
        if !block.isPassing {
            if isError, let refusal = block.refusal {
                let exec = [UInt8](bytes)
                if block.canMove {
                    redirect(block, refusal, exec, at: place, strands)
                } else {
                    // No other node would do.
                    end(block, block.reworded(ClusterWords.crossing), exec, at: place, strands)
                    sendHeldCommands(strands)
                }
                return settleStrands(strands)
            }
            strands.blocks[place]?.isPassing = true
            strands.blocks[place]?.collected = []
            block.collected.withUnsafeBytes { raw in
                pass(
                    strands.order.take(block.collected.span, of: place, isComplete: false), raw,
                    strands)
            }
        }
        if isComplete { strands.blocks[place] = nil }
        // The client may have been closed meanwhile.
        guard self.strands === strands else { return }
        receivePlaced(bytes, of: place, isComplete: isComplete, strands)
    }
}
