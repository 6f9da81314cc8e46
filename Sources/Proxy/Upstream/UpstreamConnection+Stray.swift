// Messages on a connection where nobody has asked for any. A server, or something in front of one,
// may send one late: when the subscription has ended and the connection is lent to others. In RESP3
// it has a type of its own and answers nothing, so it is dropped. But what has come once may come
// again, so the connection takes no new command. In RESP2 it looks like a reply, and poisons.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// True when this byte, which begins a frame, begins a push that is meant for nobody.
    func isStray(_ first: UInt8) -> Bool {
        first == UInt8(ascii: ">") && key.protocolVersion == 3 && piped == nil && hearsNothing
    }

    /// Nobody can be told anything here: there is no holder, or one who has not asked for it.
    private var hearsNothing: Bool {
        guard let hold else { return true }
        // Another client's invalidations may be redirected here.
        if hold.isListening || (ending.spoiled != nil && ending.spoiled != .strayPush) {
            return false
        }
        if inFlight.isEmpty { return true }
        switch inFlight.first.expectation {
        case .plain, .write, .heldUp, .multi, .discard, .watch, .unwatch, .fence: return true
        default: return false
        }
    }

    /// A push on a held connection begins or goes on. Returns the next position.
    func meetPush(_ bytes: UnsafeRawPointer, _ span: Span<UInt8>, from start: Int) -> Int {
        guard sole?.messages.isInside != true, isStray(span[start]) else {
            return relayPush(bytes, span, from: start)
        }
        noteStray()
        return dropPush(span, from: start)
    }

    /// Such a push begins.
    func noteStray() {
        pool.traffic.pushesDropped += 1
        pool.warnLimit(
            "upstream.stray_push", reason: CloseReason.strayPush.word,
            "dropping a message from \(pool.config.upstream) that nobody has asked for")
        retireWhenFree(.strayPush)
    }

    /// A push, or the beginning of one, stands where a reply to `entry` is due, behind `finished`
    /// whole replies to it in `count` bytes, and ends at `end`. Returns the next position. One that
    /// began as something else has been relayed in part, and poisons.
    @inline(never)
    func meetStray(
        _ entry: InFlight, behind finished: UInt32, _ bytes: UnsafeRawPointer, _ count: Int,
        _ first: UInt8, _ end: Int
    ) -> Int {
        guard isStray(first), count > 0 || !incoming.isRelaying else {
            poison("a push on a shared connection", behind: finished, of: entry, bytes, count)
            return end
        }
        incoming.isRelaying = false
        if finished > 0 { deliver(entry, bytes, count, finished) }
        noteStray()
        incoming.isDropping = scanner.isInside
        return end
    }

    /// Passes over such a push, or as much of it as has come. Returns the next position.
    func dropPush(_ span: Span<UInt8>, from start: Int) -> Int {
        switch scanner.scan(span, from: start) {
        case .complete(let end):
            incoming.isDropping = false
            return end
        case .incomplete:
            incoming.isDropping = true
        case .invalid(let error):
            poison(error.message)
        }
        return span.count
    }

    /// True when this byte, which begins a frame, begins such a push while the state of the
    /// connection is changed. Nobody waits here but for that, so another one can be had at once. A
    /// new connection has never had a subscription: what it sends before its answers is no Redis.
    func isStrayInHandshake(_ first: UInt8) -> Bool {
        var isThree = key.protocolVersion == 3
        switch handshake.purpose {
        case .dial: return false
        case .convert(let newKey): isThree = isThree || newKey.protocolVersion == 3
        case .prepare, .lookAgain: break
        }
        return isThree && first == UInt8(ascii: ">")
    }

    func loseToStray() {
        noteStray()
        lose(.strayPush)
    }
}
