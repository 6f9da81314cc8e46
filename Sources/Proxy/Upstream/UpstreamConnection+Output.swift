// What goes to the server, and when a connection takes no more: from its clients, or from the server.

import EventLoop
import Glibc
import Pool
import RESP
import Session

extension UpstreamConnection {
    // MARK: Output

    /// Queues bytes; they are written at the end of the iteration.
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

    /// What is sent from here on is not kept for sending it again.
    func forgetSent() { output.forgetsSent = true }

    func keepSent() { output.forgetsSent = false }

    /// Notes that a reply is owed for the `bytes` that are sent next.
    func expect(
        _ client: SlotID, _ expectation: Expectation, bytes: Int, value: UInt32 = 0,
        isSilent: Bool = false
    ) {
        if inFlight.isEmpty { waitingSince = worker.now }
        inFlight.append(client, expectation, bytes: bytes, value: value, isSilent: isSilent)
    }

    /// `count` replies of the oldest entry have come.
    func finishHead(_ count: UInt32 = 1) {
        waitingSince = worker.now
        let bytes = inFlight.finish(count)
        if bytes > 0 { output.answered(bytes, pool: worker.chunks) }
    }

    /// Queues bytes of a stream; large pieces go to the socket at once instead of being copied.
    func stream(_ bytes: UnsafeRawPointer, count: Int) {
        var sent = 0
        if output.isAllSent, output.forgetsSent, count >= 16 << 10 {
            let result = channel.send(bytes, count: count)
            if result > 0 {
                sent = result
                output.passed(result)
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
            // What the server has already answered is still there to be read; the read says when
            // the stream is over, and then what has not gone out is sent again elsewhere.
            noteFailedWrite(error)
            if stage == .closing || !channel.isReading { ended(error: error) }
        }
        output.boundKept(pool: worker.chunks)
        server.machine.written(id, since: worker.clock.turnBegan, now: worker.now)
        outputChanged()
    }

    /// A write that finds the connection reset takes the error from the socket, so that the read
    /// behind it shows a mere end, which would be taken for an orderly one.
    private func noteFailedWrite(_ error: Int32) {
        if error != EPIPE, error != EAGAIN { ending.isReset = true }
    }

    /// Pauses and resumes the clients that feed this connection.
    func outputChanged() {
        if output.unsent <= UpstreamConnection.outputLowWater, !flow.feeders.isEmpty {
            let waiting = flow.feeders
            flow.feeders = []
            for id in waiting { worker.clients[id]?.upstreamDrained() }
        }
        judgeAvailability()
    }

    /// True when a feeding client should stop: it is then resumed by `outputChanged`.
    func isFull(for client: ClientConnection) -> Bool {
        guard output.unsent > UpstreamConnection.outputHighWater else { return false }
        flow.feeders.append(client.id)
        judgeAvailability()
        return true
    }

    // MARK: Availability and holding

    /// Somebody who reads well waits here for a reply.
    var keepsOthersWaiting: Bool { clients > flow.slowReaders }

    /// Tells the pool whether more clients may be put on this shared connection.
    func judgeAvailability() {
        let available =
            !incoming.isLarge && flow.slowReaders == 0 && flow.soloists.isEmpty
            && output.unsent <= UpstreamConnection.outputHighWater
        if available == flow.isAvailable { return }
        flow.isAvailable = available
        server.machine.setAvailable(id, available)
        server.noteWork()
    }

    /// When everybody who is owed something here reads slowly, reading stops: the server then keeps
    /// the replies, exactly as it would for a slow client of its own. A shared upstream that is
    /// wanted is read on, until the client's limit decides whether it may go on like that.
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

    /// A client that has something in flight here does not read fast enough.
    func readerIsSlow() {
        flow.slowReaders += 1
        judgeAvailability()
    }

    /// It reads again, or has left.
    func readerIsQuick() {
        flow.slowReaders -= 1
        judgeAvailability()
        judgeReading()
    }

    /// More than `clientOutputLimit` waits for a client: the connection is not read meanwhile.
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
