// Long commands that a hub has to get whole: a client that subscribes anew to thousands of channels
// names them all in one command.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// The longest command of the SUBSCRIBE family that a hub carries, in bytes; and the longest
    /// that the server is asked to refuse for a subscribed RESP2 client.
    static let longestAsk = 4 << 20

    /// More of a command is to come. True if it goes to a hub, which has to get it whole, or if it
    /// is too long for that.
    func collectForHub(_ span: Span<UInt8>, _ start: Int) -> Bool {
        guard isForHub(span, start) else {
            if extras != nil { extras?.collectsAsk = false }
            return false
        }
        if scanner.scanned + scanner.payloadRemaining <= ClientConnection.longestAsk {
            ownExtras.collectsAsk = true
            return true
        }
        if awaitsHub || inFlight > 0 {
            mode = .barrier
            return true
        }
        extras?.collectsAsk = false
        let outcome = refuse(
            "ERR Redpool shares subscriptions: a command of the SUBSCRIBE family, or of a "
                + "subscribed client of RESP2, is at most 4 MB long")
        if outcome != .blocked { mode = .swallowing }
        return true
    }

    private func isForHub(_ span: Span<UInt8>, _ start: Int) -> Bool {
        guard isSubscribing || (pool.config.pubsub.isShared && !isHolding),
            case .known(let command, let isDenied) = unfinishedCommand(span, start), !isDenied
        else { return false }
        if let verb = SubscribeVerb(command) { return isSubscribing || !verb.isEnd }
        return isSubscribing && key.protocolVersion == 2
    }
}
