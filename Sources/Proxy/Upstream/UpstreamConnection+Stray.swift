// Messages on a connection without a subscription. A server, or a proxy in front of it, may send
// one late, when the connection is already lent to others. In RESP3 it has a type of its own and is
// no reply, so it is dropped; the connection takes no new command, because more may come. In RESP2
// it looks like a reply, and poisons.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// True if this first byte of a frame begins a push that no client here wants.
    func isStray(_ first: UInt8) -> Bool {
        first == UInt8(ascii: ">") && key.protocolVersion == 3 && piped == nil && hearsNothing
    }

    /// No client here can get a message: there is no holder, or it has no subscription.
    private var hearsNothing: Bool {
        guard let hold else { return true }
        // Another client may redirect its invalidations here.
        if hold.isListening || (ending.spoiled != nil && ending.spoiled != .strayPush) {
            return false
        }
        if inFlight.isEmpty { return true }
        switch inFlight.first.expectation {
        case .plain, .write, .heldUp, .multi, .discard, .watch, .unwatch, .fence: return true
        default: return false
        }
    }

    /// Handles a push on a held connection. Returns the next position.
    func meetPush(_ bytes: UnsafeRawPointer, _ span: Span<UInt8>, from start: Int) -> Int {
        guard sole?.messages.isInside != true, isStray(span[start]) else {
            return relayPush(bytes, span, from: start)
        }
        noteStray()
        return dropPush(span, from: start)
    }

    /// Records an unwanted push.
    func noteStray() {
        pool.traffic.pushesDropped += 1
        pool.warnLimit(
            "upstream.stray_push", reason: CloseReason.strayPush.word,
            "dropping a message from \(server.place) that nobody has asked for")
        retireWhenFree(.strayPush)
    }

    /// Handles a push in place of a reply to `entry`. `count` bytes before it have `finished`
    /// complete replies; it ends at `end`. Returns the next position. If the frame began as
    /// something else, a part of it has been passed on already, so the connection is poisoned.
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
        if finished > 0 { passOn(entry, bytes, count, finished) }
        noteStray()
        incoming.isDropping = scanner.isInside
        return end
    }

    /// Drops a push, or as much of it as has come. Returns the next position.
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

    /// True if this first byte of a frame begins a push while the connection's state is being
    /// changed. No command is in flight then, so another connection can take its place. On a new
    /// connection there has never been a subscription: a push there comes from no Redis server.
    func isStrayInHandshake(_ first: UInt8) -> Bool {
        var isThree = key.protocolVersion == 3
        switch handshake.purpose {
        case .dial: return false
        case .convert(let newKey): isThree = isThree || newKey.protocolVersion == 3
        case .prepare, .lookAgain, .takeOver: break
        }
        return isThree && first == UInt8(ascii: ">")
    }

    func loseToStray() {
        noteStray()
        lose(.strayPush)
    }
}
