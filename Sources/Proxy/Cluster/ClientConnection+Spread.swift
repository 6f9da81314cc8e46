// Commands with one key whose nodes differ: a pipeline over several nodes of a cluster. Each node
// gets its commands in pieces as long as the input allows, and each piece is counted once.

import Pool
import RESP
import Session
import Topology

/// A command with one key, in a client's input.
private struct KeyedCommand {
    let command: Command
    let slot: UInt16
    /// The number of the slot's owner.
    let node: UInt32
    let end: Int
}

/// Commands for one node that follow each other in a client's input.
private struct NodeRun {
    let node: UInt32
    /// Where it begins in the input, and where it ends.
    let start: Int
    var end: Int
    /// The first one.
    let command: Command
    var slots = InlineArray<16, UInt16>(repeating: 0)
    var count = 0
    /// One of them may change data.
    var mayWrite = false

    static let most = 16
}

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
        guard case .open = mode, case .on = session.replyMode, !isPausedByUpstream else {
            return start
        }
        let span = buffer.span
        let most = worker.turn.left
        var scanner = CommandScanner()
        var end = start
        var total = 0
        var next = keyed(span, from: start, route, &scanner)
        while let first = next, total < most, !isPausedByUpstream,
            let own = strands.unretained(on: first.node),
            own._withUnsafeGuaranteedRef({ !$0.gauge.measures })
        {
            var run = NodeRun(node: first.node, start: end, end: end, command: first.command)
            while let one = next, one.node == run.node, run.count < NodeRun.most {
                run.slots[run.count] = one.slot
                run.count += 1
                run.end = one.end
                if worker.table.mayWrite(one.command) { run.mayWrite = true }
                lastCommand = one.command
                next =
                    one.end &- start < ClientConnection.longestSpread
                    ? keyed(span, from: one.end, route, &scanner) : nil
            }
            end = run.end
            total += run.count
            let place = strands.order.open(
                run: run.slots.span.extracting(first: run.count), on: run.node)
            let bytes = UnsafeRawBufferPointer(
                rebasing: UnsafeRawBufferPointer(buffer)[run.start..<run.end])
            own._withUnsafeGuaranteedRef {
                $0.takePlaced(of: id, run.count, bytes, at: place, run.command)
                if run.mayWrite { noteWrite($0) }
                if $0.isFull(for: self) { pause(.upstreamFull) }
            }
        }
        noteSpread(total, strands)
        return end
    }

    /// The command at `start`, if it is complete, allowed, in the form that encoders write, and has
    /// one key.
    @inline(__always)
    private func keyed(
        _ span: Span<UInt8>, from start: Int, _ route: ClusterRoute,
        _ scanner: inout CommandScanner
    ) -> KeyedCommand? {
        guard start < span.count,
            case .command(let frame) = scanner.scan(
                span, frameStart: start, limits: worker.limits.loggedIn), frame.isCanonical
        else { return nil }
        let command = worker.table.find(span, frame)
        guard worker.table.hasOneKey(command), frame.firstLength >= 0,
            !pool.denyList.stops(command)
        else { return nil }
        let slot = Slot.of(span, start: frame.firstStart, length: frame.firstLength)
        return KeyedCommand(
            command: command, slot: slot, node: UInt32(route.owners[Int(slot)]), end: frame.end)
    }

    private func noteSpread(_ commands: Int, _ strands: ClientStrands) {
        guard commands > 0 else { return }
        worker.turn.spend(commands + 1)
        inFlight = UInt32(truncatingIfNeeded: strands.order.count)
        pool.traffic.commandsShared += UInt64(commands)
        counted.commands &+= UInt64(commands)
    }
}

extension UpstreamConnection {
    /// Sends commands with one key each, which have got places, for a client with a strand here.
    fileprivate func takePlaced(
        of client: SlotID, _ count: Int, _ bytes: UnsafeRawBufferPointer, at place: UInt32,
        _ command: Command
    ) {
        let number = UInt32(truncatingIfNeeded: count)
        server.machine.add(id, count: Int32(truncatingIfNeeded: count))
        expectPlaced(
            client, count: number, bytes: bytes.count, place: place, mayGrow: true,
            command: command)
        send(bytes)
    }
}
