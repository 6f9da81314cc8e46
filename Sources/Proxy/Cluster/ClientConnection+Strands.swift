// Commands in flight on several nodes, and their replies.

import Config
import EventLoop
import Pool
import RESP
import Session
import Topology

extension ClientConnection {
    /// Replies that are parked are bounded: beyond this, nothing more is sent.
    private static let mostParked = 1 << 20
    /// The worker keeps no more memory than this for what goes out.
    private static let mostDrained = 64 << 10

    /// The strands of this client, which begin if need be. Nil if the command at hand has to wait
    /// until nothing is in flight.
    func openStrands(under version: UInt64) -> ClientStrands? {
        if let strands {
            guard strands.maySend(under: version),
                strands.order.memory <= ClientConnection.mostParked,
                output.count <= outputHighWater
            else { return nil }
            return strands
        }
        guard !isSlow else { return nil }
        guard inFlight > 0 else { return beginStrands(on: 0, hasBegun: false, under: version) }
        guard let upstream, upstream.isShared else { return nil }
        return beginStrands(on: upstream, under: version)
    }

    /// The commands in flight on this upstream get places. Nil if some of them cannot, or were sent
    /// under another map than that with `version`.
    func beginStrands(on upstream: UpstreamConnection, under version: UInt64?) -> ClientStrands? {
        guard
            upstream.inFlight.place(
                id, inFlight, under: version.map { UInt32(truncatingIfNeeded: $0) })
        else { return nil }
        let node = upstream.server.number
        if isSlow { leaveSlowReaders(upstream) }
        let strands = beginStrands(
            on: node, hasBegun: upstream.hasBegun(replyTo: id), under: version)
        upstream.describePlaced(of: id, in: strands)
        strands.add(upstream, on: node)
        return strands
    }

    /// All commands in flight are on one node.
    private func beginStrands(
        on node: UInt32, hasBegun: Bool, under version: UInt64?
    ) -> ClientStrands {
        let begun = worker.takeStrands()
        begun.begin(
            version: version, open: inFlight, on: node, hasBegun: hasBegun,
            patience: pool.config.poolTimeout)
        strands = begun
        return begun
    }

    /// Sends a command that gets a place.
    func sendPlaced(
        _ kind: LeaseKind, _ bytes: UnsafeRawBufferPointer, in slot: UInt16, to target: Server,
        _ strands: ClientStrands
    ) -> Outcome {
        turn(to: target)
        upstream = strands.upstream(on: target.number)
        guard let own = strand(kind, strands) else {
            guard case .open = mode else { return .blocked }
            // Refused: answered at its place.
            return .answered
        }
        if own.gauge.measures, own.server.machine.isFull(own.id) { return waitForReplies() }
        let isSilent = session.takeSilence()
        let place = strands.order.open(slot: slot, on: target.number, isSilent: isSilent)
        inFlight = UInt32(truncatingIfNeeded: strands.order.count)
        pool.traffic.commandsShared += 1
        counted.commands &+= 1
        send(bytes, at: place, lastCommand, over: own)
        return .sent
    }

    /// The strand on the present server, which begins with a lease if need be. Nil if the client
    /// waits for one, or has been answered with an error.
    private func strand(_ kind: LeaseKind, _ strands: ClientStrands) -> UpstreamConnection? {
        if let upstream {
            upstream.server.machine.add(upstream.id, kind)
            return upstream
        }
        switch leaseAtPlace(kind) {
        case .granted(let own):
            own.share()
            strands.add(own, on: server.number)
            upstream = own
            return own
        case .waits: return nil
        case .refused(let text):
            answerInOrder(text, strands)
            return nil
        }
    }

    /// What the pool says to a client that has other commands in flight.
    enum PlaceLease {
        case granted(UpstreamConnection)
        case waits
        case refused(String)
    }

    /// Leases an upstream of the present server.
    func leaseAtPlace(_ kind: LeaseKind) -> PlaceLease {
        if let granted {
            self.granted = nil
            if granted.upstream.stage == .ready, granted.upstream.server === server,
                granted.wanted == Wanted(kind: kind, key: key)
            {
                return .granted(granted.upstream)
            }
            granted.upstream.server.giveBack(granted.upstream)
        }
        switch server.lease(kind, key, for: id) {
        case .granted(let upstream): return .granted(server.lent(upstream))
        case .queued(let ticket):
            mode = .waiting(
                LeaseWait(
                    ticket: ticket, wanted: Wanted(kind: kind, key: key), isBlocking: false,
                    since: worker.now))
            server.noteWork()
            return .waits
        case .refused(let refusal):
            pool.meter.leasesRefused += 1
            return .refused(server.refusalText(refusal))
        }
    }

    /// Writes a command that has a place to its strand.
    ///
    /// - Parameter isLone: commands with later places may have been sent there before.
    func send(
        _ bytes: UnsafeRawBufferPointer, at place: UInt32, _ command: Command,
        over own: UpstreamConnection, isLone: Bool = false
    ) {
        if worker.table.mayWrite(command) { noteWrite(own) }
        own.expectPlaced(
            id, bytes: bytes.count, place: place,
            mayGrow: !isLone && worker.table.hasOneKey(command), command: command)
        own.send(bytes)
        if own.isFull(for: self) { pause(.upstreamFull) }
    }

    /// Redpool answers the command at hand with an error, behind what is in flight.
    func answerInOrder(_ text: String, _ strands: ClientStrands) {
        let place = strands.order.openHeld(
            slot: PlaceSlot.none, isSilent: session.takeSilence())
        inFlight = UInt32(truncatingIfNeeded: strands.order.count)
        pool.traffic.commandsLocal += 1
        counted.commands &+= 1
        answer(text, at: place, strands)
        settleStrands(strands)
    }

    /// An error of Redpool's in place of a node's answer, or of all answers to a block.
    func answer(_ text: String, at place: UInt32, _ strands: ClientStrands, times: Int = 1) {
        var bytes: [UInt8] = []
        for _ in 0..<times { Encode.error(text, into: &bytes) }
        bytes.withUnsafeBytes { raw in
            pass(strands.order.answer(bytes.span, for: place), raw, strands)
        }
    }

    /// The command at the head of the input, if the pool has refused it an upstream: nil if it has
    /// not.
    func answerRefusal() -> Outcome? {
        guard let refusal else { return nil }
        soleRedirect = nil
        tour = nil
        guard let strands else { return refuseIfDenied() ? .answered : nil }
        // A held command comes before the head of the input, see `sendHeld`.
        self.refusal = nil
        retryUntil = nil
        answerInOrder(refusal, strands)
        return .answered
    }

    // MARK: Replies

    /// What comes for this client is queued as it is.
    var putsReplies: Bool {
        switch mode {
        case .closing, .piped, .exclusive: false
        default: listening.isEmpty
        }
    }

    /// Takes the reply to a command with a place, or a piece of it.
    func receivePlaced(
        _ bytes: UnsafeRawBufferPointer, of place: UInt32, isComplete: Bool,
        _ strands: ClientStrands
    ) {
        let buffer = bytes.assumingMemoryBound(to: UInt8.self)
        let way = strands.order.take(buffer.span, of: place, isComplete: isComplete)
        pass(way, bytes, strands)
        if isComplete { placesAnswered(strands) }
        settleStrands(strands)
    }

    /// The order has taken replies to commands with places; this client gets `ready` of them now.
    func receivePlacedRun(_ ready: UnsafeRawBufferPointer, _ strands: ClientStrands) {
        if let base = ready.baseAddress, !ready.isEmpty { put(base, count: ready.count) }
        while strands.order.isReady, channel.isOpen { drain(strands) }
        placesAnswered(strands)
        settleStrands(strands)
    }

    @inline(__always)
    private func placesAnswered(_ strands: ClientStrands) {
        if retryUntil != nil { retryUntil = nil }
        noteWaited()
        if strands.order.heldCount > 0 { sendHeldCommands(strands) }
    }

    /// Carries out where bytes go, and passes on what has become ready.
    func pass(_ way: ReplyWay, _ bytes: UnsafeRawBufferPointer, _ strands: ClientStrands) {
        switch way {
        case .pass:
            if let base = bytes.baseAddress { receive(base, count: bytes.count) }
        case .parked: break
        case .gathered(let lead): finishGather(lead, strands)
        case .mismatch:
            close(.upstream_lost)
            return
        }
        while strands.order.isReady, channel.isOpen { drain(strands) }
    }

    private func drain(_ strands: ClientStrands) {
        var ready: [UInt8] = []
        swap(&ready, &worker.work.drained)
        strands.order.drain(into: &ready)
        ready.withUnsafeBytes {
            if let base = $0.baseAddress { receive(base, count: $0.count) }
        }
        guard ready.capacity <= ClientConnection.mostDrained else { return }
        ready.removeAll(keepingCapacity: true)
        swap(&ready, &worker.work.drained)
    }

    /// Ends strands with nothing in flight, and the order when all replies have gone out.
    func settleStrands(_ strands: ClientStrands) {
        guard channel.isOpen, self.strands === strands else { return }
        while let idle = strands.takeIdle() {
            if upstream === idle.upstream { upstream = nil }
            idle.leave()
        }
        inFlight = UInt32(truncatingIfNeeded: strands.order.count)
        if strands.order.memory > ClientConnection.freeParked
            || output.count > ClientConnection.shortLowWater || !strands.isAtEase
        {
            paceStrands(strands)
            boundParked(strands)
            guard channel.isOpen else { return }
        }
        guard strands.order.isOver else { return }
        // A command for another node waits there for its upstream.
        if case .waiting = mode, aside != nil { return }
        self.strands = nil
        worker.keep(strands)
        takeAsideBack()
        if !input.isEmpty || inputEnded || mode == .barrier || isLeaving { worker.ready(self) }
    }

    /// A client that reads slower than its nodes answer is a slow reader of all its strands. While
    /// much is parked it is one of all but the strand on which it waits for the next reply: that
    /// one is read, so the others have their turn.
    func paceStrands(_ strands: ClientStrands) {
        let parked = strands.order.parkedMemory
        let wasSlow = strands.isUnread || strands.isFull
        strands.isUnread = output.count > (strands.isUnread ? outputLowWater : outputHighWater)
        strands.isFull = parked > ClientConnection.mostParked / (strands.isFull ? 4 : 1)
        guard wasSlow || strands.isUnread || strands.isFull else { return }
        let (isUnread, isFull) = (strands.isUnread, strands.isFull)
        let next = isFull ? strands.order.nextNode : nil
        strands.pace { isUnread || (isFull && $0 != next) }
    }

    /// The memory of commands that are not answered and of replies that cannot go out yet, in
    /// bytes, in front of a cluster.
    var parkedMemory: Int { strands?.order.memory ?? 0 }

    /// Replies that cannot go out yet count as output of the client.
    private func boundParked(_ strands: ClientStrands) {
        let memory = strands.order.isOver ? 0 : strands.order.memory
        let size = memory > ClientConnection.freeParked ? memory : 0
        if size != strands.counted {
            worker.countExtras(size - strands.counted)
            strands.counted = size
        }
        let most = max(pool.config.clientOutputLimit, 2 << 20)
        guard memory + output.count > most else { return }
        if !strands.gathers.isEmpty, !strands.isTooLarge {
            strands.isTooLarge = true
            for gather in strands.gathers { strands.order.dropParts(of: gather.lead) }
            return boundParked(strands)
        }
        closeAtLimit()
    }

    private static let freeParked = 16 << 10

    /// The client leaves: its commands still run, their replies are dropped.
    func dropStrands() {
        guard let strands else { return }
        worker.countExtras(-strands.counted)
        strands.counted = 0
        for strand in strands.strands {
            if upstream === strand.upstream { upstream = nil }
            strand.leave()
        }
        self.strands = nil
        inFlight = 0
    }
}
