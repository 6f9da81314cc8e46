// Output to the server, and when it stops: when the server takes no more bytes, or when the clients
// do not read.

import EventLoop
import Glibc
import Pool
import Session

extension UpstreamConnection {
    // MARK: Output

    /// Queues bytes. They are written at the end of the iteration.
    func send(_ bytes: UnsafeRawPointer, count: Int) {
        output.append(bytes, count: count, pool: worker.chunks)
        worker.markDirty(self)
    }

    @inline(__always)
    func send(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        send(base, count: bytes.count)
    }

    func send(_ bytes: [UInt8]) { bytes.withUnsafeBytes { send($0) } }

    /// Bytes from here on are not kept, so they cannot be sent again.
    func forgetSent() { output.forgetsSent = true }

    func keepSent() { output.forgetsSent = false }

    /// Records that a reply is owed for the next `bytes` bytes. If they get places, those of an
    /// entry that `mayGrow` do as `expectPlaced` says.
    func expect(
        _ client: SlotID, _ expectation: Expectation, count: UInt32 = 1, bytes: Int,
        value: UInt32 = 0, mark: InFlight.Mark = .none, command: Command = .unknown
    ) {
        if inFlight.isEmpty { waitingSince = worker.now }
        inFlight.append(
            client, expectation, count: count, bytes: bytes, value: value,
            mark: mark, stamp: worker.clock.stamp, command: command)
    }

    /// The same for commands of a client that have got places, the first one this `place`. If they
    /// `mayGrow`, they become some of the newest entry, where they can.
    func expectPlaced(
        _ client: SlotID, count: UInt32 = 1, bytes: Int, place: UInt32, mayGrow: Bool,
        command: Command
    ) {
        let stamp = worker.clock.stamp
        if mayGrow, inFlight.join(client, count: count, bytes: bytes, stamp: stamp) { return }
        if inFlight.isEmpty { waitingSince = worker.now }
        inFlight.append(
            client, .placed, count: count, bytes: bytes, value: place,
            mark: mayGrow ? .mayGrow : .none, stamp: stamp, command: command)
    }

    /// `count` replies to the oldest entry have come.
    func finishHead(_ count: UInt32 = 1) {
        waitingSince = worker.now
        let bytes = inFlight.finish(count)
        if bytes > 0 { output.answered(bytes, pool: worker.chunks) }
    }

    /// Sends bytes of a stream. Large pieces go to the socket at once and are not copied.
    func stream(_ bytes: UnsafeRawPointer, count: Int) {
        var sent = 0
        if output.isAllSent, output.forgetsSent, count >= 16 << 10 {
            let result = channel.send(bytes, count: count)
            if result > 0 {
                sent = result
                output.passed(result)
                channel.forgetRecords(upTo: output.sentTotal)
            } else if result < 0 {
                noteFailedWrite(Int32(-result))
            }
        }
        if sent < count { send(bytes + sent, count: count - sent) }
    }

    func flush() {
        guard stage == .handshaking || stage == .ready || stage == .closing else { return }
        if worker.now.nanoseconds >= fenceDue { fenceIfDue() }
        switch output.flush(to: channel, pool: worker.chunks) {
        case .empty:
            if stage == .closing { channel.finishWriting() }
        case .full:
            channel.awaitWritable()
        case .failed(let error):
            // Replies that the server has sent can still be read. The read reports the end of the
            // stream; then unreceived commands are sent again over another connection.
            noteFailedWrite(error)
            if stage == .closing || !channel.isReading { ended(error: error) }
        }
        output.boundKept(pool: worker.chunks)
        server.machine.written(id, since: worker.clock.turnBegan, now: worker.now)
        outputChanged()
    }

    /// Records a reset that a write has seen. The write takes the error from the socket, so the
    /// next read reports an orderly end.
    private func noteFailedWrite(_ error: Int32) {
        if error != EPIPE, error != EAGAIN { ending.isReset = true }
    }

    /// Called when output has been written: resumes the clients that feed this connection.
    func outputChanged() {
        if output.unsent <= UpstreamConnection.outputLowWater, !flow.feeders.isEmpty {
            let waiting = flow.feeders
            flow.feeders = []
            for id in waiting { worker.clients[id]?.upstreamDrained() }
        }
        judgeAvailability()
    }

    /// True if the client must stop sending. `outputChanged` resumes it.
    func isFull(for client: ClientConnection) -> Bool {
        guard output.unsent > UpstreamConnection.outputHighWater else { return false }
        flow.feeders.append(client.id)
        judgeAvailability()
        return true
    }

    // MARK: Availability and holding

    /// A client that reads fast enough waits here for a reply.
    var keepsOthersWaiting: Bool { clients > flow.slowReaders }

    /// Tells the pool whether more clients may use this shared connection.
    func judgeAvailability() {
        let available =
            !incoming.isLarge && flow.slowReaders == 0 && flow.soloists.isEmpty
            && output.unsent <= UpstreamConnection.outputHighWater
        if available == flow.isAvailable { return }
        flow.isAvailable = available
        server.machine.setAvailable(id, available)
        server.noteWork()
    }

    /// Stops reading when all clients with replies owed here read slowly. The server then keeps the
    /// replies, as it does for a slow client of its own. A shared upstream is read on while other
    /// clients wait for one, until a client reaches its output limit.
    func judgeReading() {
        let isWanted = server.isCrowded && isShared
        let isUnread =
            flow.readersAtLimit > 0
            || (flow.slowReaders > 0 && flow.slowReaders >= clients && !isWanted)
        if isUnread == flow.isUnread { return }
        flow.isUnread = isUnread
        guard stage == .ready || stage == .closing else { return }
        if isUnread { channel.stopReading() } else { channel.startReading() }
    }

    // MARK: Slow readers

    /// A client with commands in flight here does not read fast enough.
    func readerIsSlow() {
        flow.slowReaders += 1
        judgeAvailability()
    }

    /// A slow client reads again, or has left.
    func readerIsQuick() {
        flow.slowReaders -= 1
        judgeAvailability()
        judgeReading()
    }

    /// More than `clientOutputLimit` bytes wait for a client. The connection is not read meanwhile.
    func readerIsAtLimit() {
        flow.limitClock.begin(worker.now)
        flow.readersAtLimit += 1
        judgeReading()
    }

    func readerHasLeftLimit() {
        flow.readersAtLimit -= 1
        flow.limitClock.leave(worker.now)
        judgeReading()
    }
}
