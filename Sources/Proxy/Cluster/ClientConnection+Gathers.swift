// Commands that go to several nodes in parts, and get one reply.

import Config
import Pool
import RESP
import Session
import Topology

/// A part of a command.
struct GatherPart {
    /// The slot of its keys, or one of `PlaceSlot`.
    let slot: UInt16
    /// The number of its node; nil for the owner of its slot.
    let node: UInt32?
    /// Where it is in the bytes of all parts.
    let range: Range<Int>
}

extension ClientConnection {
    /// Sends a command whose keys are in several slots, in parts.
    func send(_ split: Split, _ request: Request) -> Outcome {
        let readsReplicas = pool.readsReplicas
        let parts = split.parts.map {
            GatherPart(
                slot: $0.slot,
                node: readsReplicas ? replica(for: request, in: $0.slot)?.number : nil,
                range: $0.range)
        }
        let outcome = gather(
            parts, split.commands, .split(split, name: name(of: request.command)))
        if outcome == .sent { pool.traffic.split += 1 }
        return outcome
    }

    /// For the error of a split command that has changed data in part.
    private func name(of command: Command) -> String {
        switch command {
        case .del: "DEL"
        case .unlink: "UNLINK"
        default: "MSET"
        }
    }

    /// Sends the parts of a command. `commands` has the bytes of all of them.
    func gather(_ parts: [GatherPart], _ commands: [UInt8], _ kind: GatherKind) -> Outcome {
        guard let route = pool.route, let strands = openStrands(under: route.version) else {
            return waitForReplies()
        }
        guard
            let lead = strands.order.openGather(
                parts: parts.count, isSilent: session.takeSilence())
        else { return waitForReplies() }
        strands.gathers.append(ClientStrands.Gather(lead: lead, kind: kind))
        var sent = 0
        while sent < parts.count,
            send(parts[sent], commands, at: lead &+ UInt32(sent), strands, route)
        {
            sent += 1
        }
        for index in sent..<parts.count {
            hold(parts[index], commands, at: lead &+ UInt32(index), strands, route)
        }
        inFlight = UInt32(truncatingIfNeeded: strands.order.count)
        pool.traffic.commandsShared += 1
        counted.commands &+= 1
        worker.turn.spend(Turn.special + parts.count)
        if sent < parts.count {
            sendHeldCommands(strands)
            settleStrands(strands)
        }
        return .sent
    }

    /// Sends a part at once. False if there is no upstream for it.
    private func send(
        _ part: GatherPart, _ commands: [UInt8], at place: UInt32, _ strands: ClientStrands,
        _ route: ClusterRoute
    ) -> Bool {
        let target = part.node.map { route.server(at: $0) } ?? route.owner(of: part.slot)
        guard let target, target.departure == nil, let own = strand(for: target, strands) else {
            return false
        }
        strands.order.sendPart(place, slot: part.slot, to: target.number)
        commands.withUnsafeBytes {
            send(
                UnsafeRawBufferPointer(rebasing: $0[part.range]), at: place, lastCommand,
                over: own, isLone: true)
        }
        return true
    }

    /// The strand on a node, which begins if the pool has an upstream now; nil if it does not.
    private func strand(for target: Server, _ strands: ClientStrands) -> UpstreamConnection? {
        if let own = strands.upstream(on: target.number) {
            target.machine.add(own.id)
            return own
        }
        guard granted == nil, !target.isReplica else { return nil }
        switch target.lease(.shared, key, for: id) {
        case .granted(let id):
            let own = target.lent(id)
            own.share()
            strands.add(own, on: target.number)
            return own
        case .queued(let ticket):
            target.machine.cancel(ticket)
            target.noteWork()
        case .refused: break
        }
        return nil
    }

    /// A part is sent later.
    private func hold(
        _ part: GatherPart, _ commands: [UInt8], at place: UInt32, _ strands: ClientStrands,
        _ route: ClusterRoute
    ) {
        strands.order.describe(place, slot: part.slot, isSilent: false)
        _ = strands.order.hold(place, command: commands.span.extracting(part.range))
        let owner = part.node ?? route.owner(of: part.slot)?.number
        _ = strands.redirects.judge(
            .notReceived, of: RefusedCommand(place: place), to: owner, in: strands.order,
            version: route.version, now: worker.now)
    }

    /// All parts of a command are answered.
    func finishGather(_ lead: UInt32, _ strands: ClientStrands) {
        guard let kind = strands.takeGather(lead) else { return }
        let isTooLarge = strands.isTooLarge
        if strands.gathers.isEmpty { strands.isTooLarge = false }
        var reply: [UInt8]?
        var replies: [UInt8] = []
        if let ends = strands.order.takeParts(of: lead, into: &replies) {
            reply = merge(replies, ends, kind)
        }
        if let reply {
            reply.withUnsafeBytes { raw in
                pass(strands.order.answer(reply.span, for: lead), raw, strands)
            }
        } else {
            let text =
                isTooLarge
                ? "the merged reply is larger than clientOutputLimit"
                : "the nodes' replies do not make one reply"
            answer("ERR pool \(pool.config.name): \(text)", at: lead, strands)
        }
    }

    /// `ends` says where each reply of a part ends.
    private func merge(_ replies: [UInt8], _ ends: [Int], _ kind: GatherKind) -> [UInt8]? {
        var first: [UInt8]? { ends.first.map { Array(replies[..<$0]) } }
        switch kind {
        case .split(let split, let name):
            return split.merged(replies, ends: ends, pool: pool.config.name, name: name)
        case .nodes(let merge):
            return merge.merged(
                apart(replies, ends), random: UInt64.random(in: .min ... .max))
        case .published(let correction): return first.map { correction.apply(to: $0) }
        case .subscribed(let kind):
            return NodeMerge.counts.merged(apart(replies, ends), random: 0).map {
                pool.book?.corrected($0, kind, at: .all) ?? $0
            }
        case .scan(let node, let nodes):
            return first.flatMap { ScanCursor.replacing(in: $0, node: node, nodes: nodes) }
        }
    }

    private func apart(_ replies: [UInt8], _ ends: [Int]) -> [[UInt8]] {
        ends.indices.map { Array(replies[($0 == 0 ? 0 : ends[$0 - 1])..<ends[$0]]) }
    }
}
