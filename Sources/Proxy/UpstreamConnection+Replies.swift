// From bytes of the server to the clients they belong to. Replies are relayed as they arrive, never
// collected; consecutive replies of one client are handed over in one piece.

import Config
import Pool
import RESP

extension UpstreamConnection {
    /// Nobody's id: the entry is the proxy's own.
    static let nobody = SlotID(slot: .max, generation: .max)

    /// Sends our PING; the pool lends the connection to nobody meanwhile.
    func probe() {
        inFlight.append(UpstreamConnection.nobody, .probe)
        send(UpstreamConnection.ping)
    }

    private static let ping = Array("*1\r\n$4\r\nPING\r\n".utf8)

    func receiveReplies(_ bytes: UnsafeRawPointer, _ count: Int) {
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        let span = buffer.span
        var position = 0
        while position < count {
            guard !inFlight.isEmpty else {
                poison("an unexpected reply")
                return
            }
            position = relayRun(bytes, span, from: position)
            if stage != .ready { return }
        }
    }

    /// Relays what the oldest entry is owed, as far as it has come. Returns the next position.
    private func relayRun(_ bytes: UnsafeRawPointer, _ span: Span<UInt8>, from start: Int) -> Int {
        let entry = inFlight.first
        var position = start
        var finished: UInt32 = 0
        while position < span.count, finished < entry.count {
            switch scanner.scan(span, from: position) {
            case .complete(let end):
                if scanner.isPush {
                    poison("a push on a shared connection")
                    return span.count
                }
                position = end
                finished += 1
            case .incomplete:
                position = span.count
            case .invalid(let error):
                poison(error.message)
                return span.count
            }
        }
        let isPartial = scanner.isInside
        noteLargeReply(isPartial && scanner.payloadRemaining > UpstreamConnection.largeReply)
        if entry.expectation == .plain {
            deliver(entry.client, bytes + start, position - start, finished)
        } else {
            handOver(entry, bytes + start, position - start, isComplete: finished > 0)
        }
        isRelaying = isPartial
        return position
    }

    private func noteLargeReply(_ isLarge: Bool) {
        if isLarge == hasLargeReply { return }
        hasLargeReply = isLarge
        judgeAvailability()
    }

    /// Bytes for a client that may have left meanwhile, and the count of replies they complete.
    private func deliver(
        _ id: SlotID, _ bytes: UnsafeRawPointer, _ count: Int, _ finished: UInt32
    ) {
        if finished > 0 {
            inFlight.finish(finished)
            if !isExclusive { countFinished(finished) }
        }
        guard let client = worker.clients[id], client.upstream === self else { return }
        client.receive(bytes, count: count)
        client.holdIfSlow(self)
        if finished > 0 { client.answered(finished) }
    }

    private func countFinished(_ replies: UInt32) {
        for _ in 0..<replies { pool.machine.finish(id, now: worker.now) }
        if inFlight.isEmpty { pool.noteEmptied(self) }
    }

    /// Replies that the proxy itself has an interest in.
    private func handOver(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, isComplete: Bool
    ) {
        switch entry.expectation {
        case .plain:
            break
        case .mirrorName, .mirrorInfo:
            let isGood = isComplete && scanner.head.matches("OK") && !scanner.isError
            if isComplete, let client = worker.clients[entry.client] {
                let change = client.takeMirror()
                if isGood {
                    change.apply(to: &client.identity)
                }
            }
            // Whoever gets this connection for himself next must not find another client's name.
            if isGood { identity.taint(entry.expectation) }
            deliver(entry.client, bytes, count, isComplete ? 1 : 0)
        case .probe:
            if !isComplete { return }
            inFlight.finish()
            pool.machine.probed(id, now: worker.now)
            pool.hasWork = true
        case .commandInfo:
            collected.append(
                contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
            if !isComplete { return }
            let reply = collected
            collected = []
            inFlight.finish()
            countFinished(1)
            worker.clients[entry.client]?.learnedCommand(reply)
        }
    }

    /// What the server sends cannot be matched with what it was asked: nothing behind it can be
    /// trusted, so the connection and everybody who waits on it end here.
    private func poison(_ text: String) {
        pool.warnLimit(
            "upstream.desync", reason: CloseReason.desync.word,
            "closing a connection to \(pool.config.upstream): \(text)")
        lose(.desync)
    }
}
