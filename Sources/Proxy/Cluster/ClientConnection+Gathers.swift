// Commands that go to several nodes in parts, and get one reply.

import Config
import Pool
import RESP
import Session
import Topology

extension ClientConnection {
    /// Sends a command whose keys are in several slots, in parts.
    func send(_ split: Split, _ request: Request) -> Outcome {
        let parts = split.parts.map {
            (slot: $0.slot, node: replica(for: request, in: $0.slot)?.number, bytes: $0.command)
        }
        let outcome = gather(parts, .split(split, name: name(of: request.command)))
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

    /// Sends the parts of a command, each to a node or to the owner of its slot.
    func gather(
        _ parts: [(slot: UInt16, node: UInt32?, bytes: [UInt8])], _ kind: GatherKind
    ) -> Outcome {
        guard let route = pool.route, let strands = openStrands(under: route.version) else {
            return waitForReplies()
        }
        guard
            let lead = strands.order.openGather(
                parts: parts.count, isSilent: session.takeSilence())
        else { return waitForReplies() }
        strands.gathers.append(ClientStrands.Gather(lead: lead, kind: kind))
        for (index, part) in parts.enumerated() {
            let place = lead &+ UInt32(truncatingIfNeeded: index)
            strands.order.describe(place, slot: part.slot, isSilent: false)
            _ = strands.order.hold(place, command: part.bytes.span)
            let owner = part.node ?? route.owner(of: part.slot)?.number
            _ = strands.redirects.judge(
                .notReceived, of: RefusedCommand(place: place), to: owner, in: strands.order,
                version: route.version, now: worker.now)
        }
        inFlight = UInt32(truncatingIfNeeded: strands.order.count)
        pool.traffic.commandsShared += 1
        counted.commands &+= 1
        worker.turn.spend(Turn.special + parts.count)
        sendHeldCommands(strands)
        settleStrands(strands)
        return .sent
    }

    /// All parts of a command are answered.
    func finishGather(_ lead: UInt32, _ strands: ClientStrands) {
        guard let kind = strands.takeGather(lead) else { return }
        let isTooLarge = strands.isTooLarge
        if strands.gathers.isEmpty { strands.isTooLarge = false }
        var reply: [UInt8]?
        if let replies = strands.order.takeParts(of: lead) { reply = merge(replies, kind) }
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

    private func merge(_ replies: [[UInt8]], _ kind: GatherKind) -> [UInt8]? {
        switch kind {
        case .split(let split, let name):
            split.merged(replies, pool: pool.config.name, name: name)
        case .nodes(let merge): merge.merged(replies, random: UInt64.random(in: .min ... .max))
        case .scan(let node, let nodes):
            replies.first.flatMap { ScanCursor.replacing(in: $0, node: node, nodes: nodes) }
        }
    }
}
