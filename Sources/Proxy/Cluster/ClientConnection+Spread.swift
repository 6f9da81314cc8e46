// Commands with one key whose nodes differ: a pipeline over several nodes of a cluster. Some are
// found together, get their places, and then each node gets those that are for it: what is counted
// for a node is counted once for all of them.

import Pool
import RESP
import Session
import Topology

extension ClientConnection {
    /// The bytes of one call, at most and but for the last command: others have their turn.
    private static let longestSpread = 16 << 10

    /// Sends a command with one key beside others in flight, and those behind it. Returns the end
    /// of the last one, or the command's start if it waits; nil if there is more to it. The strand
    /// need not be that on the client's present server.
    @inline(never)
    func forwardPlaced(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, _ frame: CommandFrame, _ command: Command,
        _ slot: UInt16, to node: Unmanaged<Server>, _ route: ClusterRoute
    ) -> Int? {
        guard inFlight > 0, granted == nil, let strands = openStrands(under: route.version) else {
            return nil
        }
        let number = node._withUnsafeGuaranteedRef { $0.number }
        let isSilent = if case .on = session.replyMode { false } else { true }
        if !isSilent, strands.unretained(on: number) != nil {
            let end = forwardSpread(buffer, from: frame.start, route, strands)
            if end > frame.start { return end }
        }
        lastCommand = command
        let bytes = UnsafeRawBufferPointer(
            rebasing: UnsafeRawBufferPointer(buffer)[frame.start..<frame.end])
        let target = node.takeUnretainedValue()
        switch sendPlaced(.shared, bytes, in: slot, to: target, strands) {
        case .blocked: return frame.start
        case .answered: return frame.end
        case .sent:
            guard frame.end < buffer.count, self.strands === strands else { return frame.end }
            return forwardSpread(buffer, from: frame.end, route, strands)
        }
    }

    /// Sends the commands with one key from `start` on, each to its node, as far as their nodes'
    /// strands have begun and take them. Returns the end of the last one.
    private func forwardSpread(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, from start: Int, _ route: ClusterRoute,
        _ strands: ClientStrands
    ) -> Int {
        guard case .open = mode, case .on = session.replyMode else { return start }
        let most = worker.turn.left
        let nodes = strands.takers
        var end = start
        var total = 0
        var areMany = true
        while areMany, total < most, end &- start < ClientConnection.longestSpread,
            !isPausedByUpstream
        {
            var found = KeyedCommands(from: end)
            worker.table.findKeyed(
                buffer.span, limits: worker.limits.loggedIn, stopped: pool.denyList,
                most: most - total, longest: ClientConnection.longestSpread - (end - start),
                owners: UnsafePointer(route.owners), nodes: nodes, &found)
            guard found.count > 0 else { break }
            let place = strands.order.open(
                run: found.slots.span.extracting(first: found.count),
                on: found.owners.span.extracting(first: found.count))
            for index in strands.strands.indices {
                let strand = UnsafePlacedStrand(strands.strands[index])
                send(found, at: place, over: strand, UnsafeRawBufferPointer(buffer))
            }
            lastCommand = found.commands[found.count - 1]
            end = found.ends[found.count - 1]
            total += found.count
            areMany = found.count == KeyedCommands.most
        }
        noteSpread(total, strands)
        return end
    }

    /// Sends those of the commands that are for a strand's node.
    ///
    /// - Parameter place: that of the first command; the others follow.
    @inline(__always)
    private func send(
        _ found: borrowing KeyedCommands, at place: UInt32, over strand: UnsafePlacedStrand,
        _ buffer: UnsafeRawBufferPointer
    ) {
        var part = PlacedPart()
        var index = 0
        while index < found.count {
            guard found.owners[index] == strand.node else {
                index += 1
                continue
            }
            let first = index
            let start = first == 0 ? found.start : found.ends[first - 1]
            while index < found.count, found.owners[index] == strand.node {
                if found.mayWrite[index] { part.mayWrite = true }
                index += 1
            }
            if part.count == 0 {
                part.place = place &+ UInt32(truncatingIfNeeded: first)
                part.command = found.commands[first]
            }
            let piece = UnsafeRawBufferPointer(rebasing: buffer[start..<found.ends[index - 1]])
            part.count += index - first
            part.bytes += piece.count
            strand.upstream._withUnsafeGuaranteedRef { $0.send(piece) }
        }
        guard part.count > 0 else { return }
        strand.upstream._withUnsafeGuaranteedRef {
            $0.takePlaced(of: id, part)
            if part.mayWrite { noteWrite($0) }
            if $0.isFull(for: self) { pause(.upstreamFull) }
        }
    }

    private func noteSpread(_ commands: Int, _ strands: ClientStrands) {
        guard commands > 0 else { return }
        worker.turn.spend(commands + 1)
        inFlight = UInt32(truncatingIfNeeded: strands.order.count)
        pool.traffic.commandsShared += UInt64(commands)
        counted.commands &+= UInt64(commands)
    }
}

/// A strand without a retain, while its client's strands keep it.
private struct UnsafePlacedStrand {
    let node: UInt16
    let upstream: Unmanaged<UpstreamConnection>

    init(_ strand: borrowing ClientStrands.Strand) {
        node = UInt16(truncatingIfNeeded: strand.node)
        upstream = Unmanaged.passUnretained(strand.upstream)
    }
}

/// Those of some commands that are for one node.
private struct PlacedPart {
    var count = 0
    var bytes = 0
    /// The place of the first one, and what it is.
    var place: UInt32 = 0
    var command = Command.unknown
    /// One of them may change data.
    var mayWrite = false
}

extension ClientStrands {
    /// The nodes whose strands take several commands at once.
    fileprivate var takers: NodeSet {
        var found = NodeSet()
        for index in strands.indices where !strands[index].upstream.gauge.measures {
            found.insert(strands[index].node)
        }
        return found
    }
}

extension UpstreamConnection {
    /// Commands with one key each, which have got places, have been sent for a client with a strand
    /// here.
    fileprivate func takePlaced(of client: SlotID, _ part: PlacedPart) {
        server.machine.add(id, count: Int32(truncatingIfNeeded: part.count))
        expectPlaced(
            client, count: UInt32(truncatingIfNeeded: part.count), bytes: part.bytes,
            place: part.place, mayGrow: true, command: part.command)
    }
}
