// A transaction that comes step by step, in front of a cluster. MULTI is answered by Redpool,
// because the node is not known before the first key. From then on the client holds an upstream of
// that node. If a slot moves meanwhile, nothing has run: the transaction, which is remembered, runs
// on the right node as a block.

import Config
import EventLoop
import HandOver
import Pool
import RESP
import Session
import Topology

/// What is remembered of an open transaction.
struct OpenMulti {
    /// Where MULTI itself is.
    enum Stage {
        /// Answered by Redpool, and not sent.
        case promised
        /// Sent to the node of the upstream that the client holds.
        case sent
        /// The node has refused it: the transaction cannot run.
        case refused
        /// EXEC has failed because of a slot that has moved: the transaction runs elsewhere.
        case moving
    }

    var stage = Stage.promised
    /// MULTI and the members that were sent; nil if they are too long, or Redpool changes what they
    /// answer.
    private(set) var bytes: [UInt8]? = OpenMulti.multi
    private(set) var members = 0
    /// The slot of all keys; nil before the first one.
    private(set) var slot: UInt16?
    private(set) var isOneSlot = true
    /// What the node has answered to the first member that it has refused.
    var refusal: NodeRefusal?
    /// A member has been answered with an error.
    var isLost = false
    /// The node has answered a member with an error of its own: EXEC will not run it.
    var isDoomed = false
    /// CLIENT REPLY hides EXEC's reply.
    var isSilent = false

    static let queued = Array("+QUEUED\r\n".utf8)
    static let multi = Array("*1\r\n$5\r\nMULTI\r\n".utf8)
    static let exec = Array("*1\r\n$4\r\nEXEC\r\n".utf8)
    private static let most = 64 << 10

    /// A member is sent.
    mutating func add(_ command: UnsafeRawBufferPointer, _ slots: KeySlots) {
        members += 1
        switch slots {
        case .none: break
        case .one(let new):
            if let slot, slot != new { isOneSlot = false }
            slot = slot ?? new
        case .several, .malformed: isOneSlot = false
        }
        guard let kept = bytes else { return }
        bytes = kept.count + command.count <= OpenMulti.most ? kept + command : nil
    }

    /// Redpool changes what a member answers.
    private(set) var isSpecial = false

    /// It cannot run elsewhere.
    mutating func forget() {
        bytes = nil
        isSpecial = true
    }

    // MARK: Handing over

    /// The client waits for nothing of it.
    var isCarriable: Bool { refusal == nil && (stage == .promised || stage == .sent) }

    var carried: CarriedMulti {
        CarriedMulti(
            stage: stage == .promised ? .promised : .sent, bytes: bytes,
            members: UInt32(clamping: members), slot: slot, isOneSlot: isOneSlot,
            isSpecial: isSpecial, isLost: isLost, isDoomed: isDoomed, isSilent: isSilent)
    }

    /// One that was begun in a former program.
    init(_ carried: CarriedMulti) {
        stage = carried.stage == .promised ? .promised : .sent
        bytes = carried.bytes
        members = Int(carried.members)
        slot = carried.slot
        isOneSlot = carried.isOneSlot
        isSpecial = carried.isSpecial
        isLost = carried.isLost
        isDoomed = carried.isDoomed
        isSilent = carried.isSilent
    }

    init() {}

    /// The transaction as a block, which can run on another node; nil if it cannot.
    var block: PlacedBlock? {
        guard isOneSlot, !isLost, let bytes else { return nil }
        return PlacedBlock(
            bytes: bytes + OpenMulti.exec, execStart: bytes.count, members: members,
            canMove: true, hidesMembers: true)
    }
}

extension ClientConnection {
    /// The transaction of this client that Redpool has begun; nil if there is none.
    var openMulti: OpenMulti? {
        get { extras?.openMulti }
        set { if newValue != nil || extras != nil { ownExtras.openMulti = newValue } }
    }

    /// MULTI without a WATCH before it. Nil for a MULTI that is none.
    func promiseMulti(_ request: Request) -> Outcome? {
        guard request.frame.argumentCount == 1, openMulti == nil,
            !pool.denyList.refuses(request.command)
        else { return nil }
        if inFlight > 0 { return waitForReplies() }
        openMulti = OpenMulti()
        answerOK()
        return .answered
    }

    private func answerOK() {
        if session.takeSilence() { return }
        reply("+OK\r\n")
    }

    /// The command at hand is in a transaction of which the node has nothing yet.
    func continueMulti(_ request: Request, _ multi: OpenMulti) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if multi.stage != .promised { return refuseMember(request) }
        if request.frame.argumentCount == 1 {
            switch request.command {
            case .exec:
                openMulti = nil
                if !session.takeSilence() { reply("*0\r\n") }
                return .answered
            case .discard:
                openMulti = nil
                answerOK()
                return .answered
            default: break
            }
        }
        guard let target = node(of: request) else { return .answered }
        return sendMulti(to: target)
    }

    /// Sends the promised MULTI. If the node refuses it, the command at hand must not run alone, so
    /// that waits for the answer.
    func sendMulti(to target: Server) -> Outcome {
        turn(to: target)
        guard let own = lease(.pin, key) else {
            // What is refused must not be left out of a transaction that runs.
            if withoutLease == .answered { refuseOpenMulti() }
            return withoutLease
        }
        upstream = own
        own.lend(to: self, for: .hold)
        session.beginTransaction()
        own.rename(session.identity.name)
        own.expect(id, .multi, bytes: OpenMulti.multi.count, mark: .silent, command: .multi)
        own.send(OpenMulti.multi)
        inFlight = 1
        openMulti?.stage = .sent
        return waitForReplies()
    }

    /// A command is answered with an error before its transaction is at a node.
    func refuseOpenMulti() {
        if openMulti?.stage == .promised { openMulti?.stage = .refused }
    }

    /// The node of a command in a transaction. Nil if it has been answered with an error.
    private func node(of request: Request) -> Server? {
        let slots = worker.table.slots(request.command, request.input.span, request.frame)
        let slot: UInt16
        switch slots {
        case .one(let one): slot = one
        case .several(let first): slot = first
        case .none, .malformed: return anyServer
        }
        if let owner = pool.route?.owner(of: slot) { return owner }
        openMulti?.stage = .refused
        replyError(ClusterWords.notServed)
        return nil
    }

    /// The node has refused MULTI, or cannot be found: the transaction ends with EXEC's error.
    private func refuseMember(_ request: Request) -> Outcome {
        openMulti?.stage = .refused
        switch request.command {
        case .exec:
            openMulti = nil
            replyError(ClusterWords.aborted)
        case .discard:
            openMulti = nil
            answerOK()
        case .reset, .quit:
            openMulti = nil
            return carryOutRare(request)
        default: replyError("ERR the node has refused MULTI")
        }
        return .answered
    }

    /// A command is sent in the open transaction on the held upstream.
    func noteMember(_ request: Request) {
        guard openMulti != nil else { return }
        let slots = worker.table.slots(request.command, request.input.span, request.frame)
        openMulti?.add(request.bytes, slots)
        if !session.members.isEmpty { openMulti?.forget() }
    }

    /// The node of the held upstream has refused a member. The client believes it is queued if the
    /// transaction can still run elsewhere, or fail as after a change of a watched key.
    func memberRefused(_ refusal: NodeRefusal, isWatching: Bool) -> [UInt8]? {
        if openMulti == nil {
            guard isWatching else { return nil }
            openMulti = OpenMulti()
            openMulti?.stage = .sent
            openMulti?.forget()
        }
        // Where it would have been queued, EXEC fails all the same.
        if openMulti?.isDoomed == true { return OpenMulti.queued }
        guard isWatching || openMulti?.block != nil else { return nil }
        if openMulti?.refusal == nil { openMulti?.refusal = refusal }
        return OpenMulti.queued
    }

    /// EXEC has failed, and the transaction was refused by the node: what stands for its reply.
    enum ExecRefused {
        /// It runs elsewhere, and EXEC's reply comes from there.
        case moves
        /// As after a change of a watched key.
        case null
        /// EXEC itself was refused, and the transaction is too large to be remembered.
        case aborted
    }

    /// EXEC on the held upstream has answered with an error. Nil if that is the client's.
    func execRefused(
        _ own: NodeRefusal?, isWatching: Bool, isSilent: Bool
    ) -> ExecRefused? {
        guard let refusal = openMulti?.refusal ?? own else { return nil }
        if isWatching {
            _ = pool.learn(refusal, slot: openMulti?.slot ?? PlaceSlot.none)
            openMulti = nil
            return .null
        }
        guard let multi = openMulti else { return nil }
        guard multi.block != nil else {
            openMulti = nil
            return own == nil ? nil : .aborted
        }
        openMulti?.refusal = refusal
        openMulti?.stage = .moving
        openMulti?.isSilent = isSilent
        return .moves
    }

    /// What the client gets for a member that the node has refused and that cannot be moved.
    func memberError(_ refusal: NodeRefusal) -> [UInt8] {
        openMulti?.isLost = true
        var text = ClusterWords.crossing
        if openMulti == nil {
            text =
                "CROSSSLOT pool \(pool.config.name): this connection has a state on another node; "
                + "use another connection"
        } else if openMulti?.isSpecial == true {
            text =
                "CROSSSLOT pool \(pool.config.name): this transaction began on another node; begin "
                + "it with a command that has a key"
        } else if openMulti?.isOneSlot != false {
            switch refusal {
            case .moved(let slot, _), .ask(let slot, _):
                text = RedirectEnd.notKept(slot: slot).text(pool: pool.config.name)
            default: text = "TRYAGAIN pool \(pool.config.name): the command did not run"
            }
        }
        var bytes: [UInt8] = []
        Encode.error(text, into: &bytes)
        return bytes
    }

    /// The hold of the transaction is over. If it was refused, it runs elsewhere.
    func multiEnded() {
        guard let multi = openMulti, multi.stage != .refused else { return }
        openMulti = nil
        guard multi.stage == .moving, let refusal = multi.refusal, let block = multi.block,
            inFlight == 0, channel.isOpen, let route = pool.route
        else { return }
        let slot = multi.slot ?? PlaceSlot.none
        let target = pool.learn(refusal, slot: slot) ?? server
        guard let strands = openStrands(under: route.version) else { return }
        _ = begin(block, in: slot, at: target, strands, isSilent: multi.isSilent)
    }
}

extension UpstreamConnection {
    /// A reply to MULTI, EXEC or DISCARD of a holder is complete. True if it has been dealt with.
    @inline(never)
    func endsMulti(_ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
        guard let client = worker.clients[entry.client], client.upstream === self,
            client.openMulti != nil || hold?.isWatching == true
        else { return false }
        switch entry.expectation {
        case .multi where scanner.isError && entry.isSilent: client.openMulti?.stage = .refused
        case .exec where scanner.isError:
            let reply = [UInt8](UnsafeRawBufferPointer(start: bytes, count: count))
            let refusal = server.node.address.flatMap { NodeRefusal(reply, from: $0) }
            let isWatching = hold?.isWatching == true
            let end = client.execRefused(
                refusal, isWatching: isWatching, isSilent: entry.isSilent)
            guard let end else { return false }
            takeNote(entry)
            switch end {
            case .null:
                let null = key.protocolVersion == 3 ? "_\r\n" : "*-1\r\n"
                deliver(entry, Array(null.utf8))
            case .aborted: deliver(entry, Array("-\(ClusterWords.aborted)\r\n".utf8))
            case .moves:
                finishHead()
                client.answered(1, from: self)
            }
            return true
        case .exec, .execWalked, .discard: client.openMulti = nil
        default: break
        }
        return false
    }
}
