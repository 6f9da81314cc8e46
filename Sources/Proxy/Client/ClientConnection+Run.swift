// Runs of plain commands (`CommandRun`). The first command of a run has found an upstream; those
// behind it go there too, in one piece.

import Pool
import RESP
import Session

extension ClientConnection {
    /// Forwards the plain commands that follow one which has just been forwarded on a shared
    /// upstream and which ended at `start`. Returns the end of the last one. A write that spreads
    /// the trail is not among them: the reply to the next one has to be read (`provesWrite`).
    func forwardRun(_ buffer: UnsafeMutableBufferPointer<UInt8>, from start: Int) -> Int {
        guard case .open = mode, case .on = session.replyMode, !session.writes.isSpread,
            !isPausedByUpstream, let target = upstream, !target.gauge.measures
        else { return start }
        let run = worker.table.run(
            buffer.span, from: start, limits: worker.limits.loggedIn, stopped: pool.denyList,
            most: worker.turn.left, hasWrites: session.writes.stays(on: target.id))
        return send(run, buffer, from: start, over: target)
    }

    /// Sends a run.
    ///
    /// - Parameters:
    ///   - value: in front of a cluster the version of the map.
    ///   - isKeyed: all have one key, and are for one node of a cluster.
    @inline(__always)
    func send(
        _ run: CommandRun, _ buffer: UnsafeMutableBufferPointer<UInt8>, from start: Int,
        over target: UpstreamConnection, value: UInt32 = 0, isKeyed: Bool = false
    ) -> Int {
        guard run.count > 0 else { return start }
        worker.turn.spend(Int(run.count) + 1)
        lastCommand = run.last
        inFlight += run.count
        if run.mayWrite {
            noteWrite(target)
            if pool.readsReplicas { noteChange() }
        }
        pool.traffic.commandsShared += UInt64(run.count)
        counted.commands &+= UInt64(run.count)
        target.takeRun(
            of: id, run.count,
            UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[start..<run.end]),
            value: value, isKeyed: isKeyed)
        if target.isFull(for: self) { pause(.upstreamFull) }
        return run.end
    }
}

extension UpstreamConnection {
    /// Sends plain commands of a client that has commands in flight here.
    fileprivate func takeRun(
        of client: SlotID, _ count: UInt32, _ bytes: UnsafeRawBufferPointer, value: UInt32,
        isKeyed: Bool
    ) {
        server.machine.add(id, count: Int32(truncatingIfNeeded: count))
        expect(
            client, .plain, count: count, bytes: bytes.count, value: value,
            mark: isKeyed ? .mayGrow : .none)
        send(bytes)
    }
}
