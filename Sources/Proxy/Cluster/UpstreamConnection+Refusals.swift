// Answers of a cluster's node that say that it has not executed a command: MOVED and the like. They
// are taken out of the replies, and the command is sent again. In a pool in front of a cluster an
// error that has not come whole is kept until it has, so that no client gets a part of one.

import Config
import Pool
import RESP
import Session
import Topology

extension UpstreamConnection {
    /// The error `bytes[count..<end]` is complete. True if it has been read and dealt with: it may
    /// be a refusal.
    @inline(never)
    func isRefusal(
        behind finished: UInt32, _ bytes: UnsafeRawPointer, _ count: Int, _ end: Int
    ) -> Bool {
        let entry = inFlight.first
        guard entry.client != UpstreamConnection.nobody else { return false }
        guard NodeRefusal.mayBegin(with: scanner.head) || isOfReplicaAlone else {
            noteFailedMember(entry)
            return false
        }
        // While it is busy, it does not say how far it is.
        if origin.isReadOnly, scanner.head.starts(with: "BUSY ") { server.doubtReplica() }
        if canBeRefused(entry) {
            meetRefusal(behind: finished, bytes, count, end)
            return true
        }
        if let reply = crossing(entry) ?? goneShards(entry) {
            meetRefusal(behind: finished, bytes, count, with: reply)
            return true
        }
        noteRefusedMember(
            entry, UnsafeRawBufferPointer(start: bytes + count, count: end - count))
        return false
    }

    /// An error of the node's that is no refusal. A transaction with such a member does not run on
    /// another node either, where the member may be queued: the client believes that it is not.
    private func noteFailedMember(_ entry: InFlight) {
        guard let hold, hold.isInTransaction,
            let client = worker.clients[entry.client], client.openMulti != nil
        else { return }
        switch entry.expectation {
        case .exec, .execWalked, .discard, .multi: return
        default:
            client.openMulti?.isLost = true
            client.openMulti?.isDoomed = true
        }
    }

    /// A replica has not executed a command for a reason that need not hold at the primary: SCRIPT
    /// LOAD and users are not replicated, each server runs scripts and has a version of its own.
    private var isOfReplicaAlone: Bool {
        origin.isReadOnly
            && (scanner.head.starts(with: "NOSCRIPT ") || scanner.head.starts(with: "NOPERM ")
                || scanner.head.starts(with: "BUSY ")
                || scanner.head.starts(with: "ERR unknown comm"))
    }

    /// What a client is told whose state on this node allows no key, or shard channel, of another
    /// one. Nil for other refusals.
    private func crossing(_ entry: InFlight) -> [UInt8]? {
        guard let hold, !hold.isClean else { return nil }
        var reply: [UInt8] = []
        switch entry.expectation {
        case .watch where hold.isWatching:
            Encode.error(ClusterWords.crossing, into: &reply)
        case .watch:
            Encode.error(
                "CROSSSLOT pool \(pool.config.name): this connection has a state on another "
                    + "node; use another connection", into: &reply)
        case .subscribe:
            Encode.error(
                "CROSSSLOT pool \(pool.config.name): this connection's shard channels are on "
                    + "another node; use another connection", into: &reply)
        default: return nil
        }
        return reply
    }

    /// The slot of shard channels has left the node, and the subscriptions with it, before
    /// SUNSUBSCRIBE came there: what the client gets. Nil for other commands.
    private func goneShards(_ entry: InFlight) -> [UInt8]? {
        guard entry.expectation == .unsubscribeShards,
            let command = unanswered(entry, start: output.answeredTotal)?.first
        else { return nil }
        var scanner = CommandScanner()
        guard
            case .command(let frame) = scanner.scan(
                command.span, frameStart: 0, limits: worker.limits.loggedIn)
        else { return nil }
        var reply: [UInt8] = []
        for channel in CommandTable.words(command.span, frame).dropFirst() {
            reply += key.protocolVersion == 3 ? Array(">3\r\n".utf8) : Array("*3\r\n".utf8)
            Encode.bulk(Array("sunsubscribe".utf8), into: &reply)
            Encode.bulk(channel, into: &reply)
            Encode.integer(Int64(hold?.shards ?? 0), into: &reply)
        }
        return reply.isEmpty ? nil : reply
    }

    /// The client gets another reply than the node's.
    private func meetRefusal(
        behind finished: UInt32, _ bytes: UnsafeRawPointer, _ count: Int, with reply: [UInt8]
    ) {
        incoming.isRelaying = false
        if finished > 0 { passOn(inFlight.first, bytes, count, finished) }
        let entry = inFlight.first
        countReplies(1, entry)
        takeNote(entry)
        deliver(entry, reply)
    }

    /// Whether a command that the node refuses is sent again: it is plain, or begins a state where
    /// there is none.
    private func canBeRefused(_ entry: InFlight) -> Bool {
        switch entry.expectation {
        case .plain, .placed: hold?.isTainted != true
        case .ofModule: hold == nil
        case .watch, .subscribe: hold?.isClean == true && inFlight.entries == 1
        default: false
        }
    }

    /// A reply that may be a refusal: `bytes[count..<end]`. The replies before it are complete.
    private func meetRefusal(
        behind finished: UInt32, _ bytes: UnsafeRawPointer, _ count: Int, _ end: Int
    ) {
        incoming.isRelaying = false
        if finished > 0 { passOn(inFlight.first, bytes, count, finished) }
        let entry = inFlight.first
        let reply = [UInt8](UnsafeRawBufferPointer(start: bytes + count, count: end - count))
        let client = worker.clients[entry.client]
        guard let client, client.uses(self), let node = server.node.address,
            let refusal = NodeRefusal(reply, from: node) ?? (origin.isReadOnly ? .notServing : nil)
        else {
            passOn(entry, bytes + count, end - count, 1)
            return
        }
        countReplies(1, entry)
        let sent = unanswered(entry, start: output.answeredTotal)?.first
        let refused = RefusedReply(
            refusal: refusal, reply: reply,
            command: sent.map { worker.table.command(of: $0) } ?? entry.command, bytes: sent,
            isSilent: entry.isSilent)
        if isShared {
            client.redirectShared(refused, from: self)
        } else if let hold, hold.isInTransaction {
            let queued = client.memberRefused(refusal, isWatching: hold.isWatching)
            deliver(entry, queued ?? client.memberError(refusal))
        } else if let hold, !hold.isClean {
            client.redirectHeld(refused, from: self)
        } else {
            client.redirectAlone(refused, from: self)
        }
    }

    private func isOfTransaction(_ entry: InFlight) -> Bool {
        switch entry.expectation {
        case .placedBlock, .placedExec, .exec: true
        default: false
        }
    }

    private func isOfState(_ entry: InFlight) -> Bool {
        switch entry.expectation {
        case .watch, .subscribe, .unsubscribeShards: true
        default: false
        }
    }

    /// Replies to commands that mean nothing to Redpool, with places or without.
    func passOn(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, _ finished: UInt32
    ) {
        countReplies(finished, entry)
        switch entry.expectation {
        case .placed: deliverPlaced(entry, bytes, count, isComplete: finished > 0)
        case .placedBlock, .placedExec: deliverBlock(entry, bytes, count, finished)
        default: deliver(entry, bytes, count, finished)
        }
    }

    /// The oldest command is answered, and its reply goes nowhere.
    func finishRefused() {
        finishHead()
        if isShared { countFinished(1) }
    }

    /// True when the error that begins at `start` has not come whole and is kept. The complete
    /// replies before it have been passed on.
    @inline(never)
    func keepsError(
        _ span: Span<UInt8>, _ bytes: UnsafeRawPointer, from start: Int, _ entry: InFlight,
        behind finished: UInt32, since begin: Int
    ) -> Bool {
        guard span[start] == UInt8(ascii: "-"), finished > 0 || !incoming.isRelaying,
            canBeRefused(entry) || isOfTransaction(entry) || isOfState(entry),
            span.count - start <= NodeRefusal.longestLine
        else { return false }
        scanner = ReplyScanner()
        incoming.collected = [UInt8](
            UnsafeRawBufferPointer(start: bytes + start, count: span.count - start))
        incoming.isErrorKept = true
        incoming.isRelaying = false
        if finished > 0 { passOn(entry, bytes + begin, start - begin, finished) }
        return true
    }

    /// The bytes behind those of an error that were kept.
    @inline(never)
    func receiveBehindError(_ bytes: UnsafeRawPointer, _ count: Int) {
        incoming.isErrorKept = false
        let joined = takeCollected() + UnsafeRawBufferPointer(start: bytes, count: count)
        joined.withUnsafeBytes { receiveReplies($0.baseAddress!, $0.count) }
    }

    // MARK: Shard channels

    /// The slot of a shard channel has moved: the server ends the subscription unasked. With the
    /// last one the client's state here is over.
    func endsShard(_ what: SubscriptionKind, _ count: Int) -> Bool {
        guard pool.isRouted, what == .shard, inFlight.isEmpty, let hold, count < hold.shards,
            count >= 0
        else { return false }
        sole?.state?.confirmed(what, count: count)
        if let client = holder { worker.ready(client) }
        return true
    }

    // MARK: Losses

    /// A command with a place whose node is lost.
    struct PlacedCommand {
        let client: ClientConnection
        let place: UInt32
        /// Nil if it may have run, or is not kept.
        let bytes: [UInt8]?
    }

    /// The unanswered commands with places, in their order.
    func placedCommands(receivedUpTo received: Int64) -> [PlacedCommand] {
        var found: [PlacedCommand] = []
        var start = output.answeredTotal
        inFlight.forEach { entry in
            defer { start += Int64(entry.bytes) }
            guard let client = worker.clients[entry.client], client.uses(self) else { return }
            switch entry.expectation {
            case .placed: break
            case .placedBlock:
                let block = client.strands?.blocks[entry.value]
                found.append(
                    PlacedCommand(
                        client: client, place: entry.value,
                        bytes: start >= received ? block?.bytes : nil))
                return
            case .confirmation where isShared:
                found.append(PlacedCommand(client: client, place: entry.value, bytes: nil))
                return
            case .placedExec where found.last?.place != entry.value:
                found.append(PlacedCommand(client: client, place: entry.value, bytes: nil))
                return
            default: return
            }
            let commands = unanswered(entry, start: start)
            var end = start + Int64(entry.bytes)
            for command in (commands ?? []) { end -= Int64(command.count) }
            var next: UInt32? = entry.value
            for index in 0..<Int(entry.count) {
                guard let place = next else { break }
                let isLast = index + 1 == entry.count
                next = isLast ? nil : client.strands?.order.nextPlace(after: place)
                let bytes = commands?[index]
                end += Int64(bytes?.count ?? 0)
                let isUnreceived = bytes != nil && end > received && !entry.isSilent
                found.append(
                    PlacedCommand(
                        client: client, place: place, bytes: isUnreceived ? bytes : nil))
            }
        }
        return found
    }

    /// Tells the clients of commands with places that this connection is gone.
    func giveUp(_ placed: [PlacedCommand], _ text: String) {
        for command in placed { command.client.lost(command.place, command.bytes, text) }
        var told: [ClientConnection] = []
        for command in placed where !told.contains(where: { $0 === command.client }) {
            told.append(command.client)
            command.client.lostStrand(self)
        }
    }

    /// The client has got a part of the oldest reply, which is its own.
    func hasBegun(replyTo client: SlotID) -> Bool {
        incoming.isRelaying && inFlight.first.client == client
    }

    /// The unanswered commands of an entry that begins at `start` in the outgoing stream; nil if
    /// their bytes are not kept.
    func unanswered(_ entry: InFlight, start: Int64) -> [[UInt8]]? {
        guard start >= output.releasedTotal, entry.bytes > 0 else { return nil }
        let all = output.copy(offset: Int(start - output.releasedTotal), count: Int(entry.bytes))
        var commands: [[UInt8]] = []
        var scanner = CommandScanner()
        var position = 0
        while position < all.count,
            case .command(let frame) = scanner.scan(
                all.span, frameStart: position, limits: worker.limits.loggedIn)
        {
            commands.append([UInt8](all[position..<frame.end]))
            position = frame.end
        }
        guard position == all.count, commands.count >= Int(entry.count) else { return nil }
        return Array(commands.suffix(Int(entry.count)))
    }
}
