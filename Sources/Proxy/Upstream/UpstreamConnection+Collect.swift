// Replies that Redpool reads before the client gets them. A real server's are short, or their
// beginning is enough. At most `mostCollected` bytes are kept.

import Pool
import RESP
import Session

extension UpstreamConnection {
    /// The longest reply that is read completely, in bytes. Names, of which a line of CLIENT INFO
    /// has three, and the words that errors repeat come from commands of at most 128 KB.
    static let mostCollected = 512 << 10

    /// How a longer reply is handled.
    private enum Excess {
        /// Its beginning is enough; the rest is dropped.
        case dropped
        /// The rest goes to the client unchanged.
        case relayed
        /// No server sends one.
        case impossible
    }

    /// Takes bytes of a reply that is collected. `isComplete` says that they are the last ones.
    func collect(_ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, isComplete: Bool) {
        if incoming.isBegunRelayed {
            relayRest(entry, bytes, count, isComplete: isComplete)
            return
        }
        let room = UpstreamConnection.mostCollected - incoming.collected.count
        let piece = UnsafeRawBufferPointer(start: bytes, count: count)
        incoming.collected.append(contentsOf: piece.prefix(room))
        if count > room {
            switch excess(entry.expectation) {
            case .dropped: break
            case .relayed:
                incoming.isBegunRelayed = true
                giveUpRecall()
                let begun = takeCollected()
                let client = worker.clients[entry.client]
                relay(entry, client?.redirectedReply(begun) ?? begun)
                relayRest(entry, bytes + room, count - room, isComplete: isComplete)
                return
            case .impossible:
                incoming.collected = []
                poison("a reply that is longer than any to its command")
                return
            }
        }
        guard isComplete else { return }
        let isCut =
            entry.expectation == .rewriteList && !scanner.isError
            && incoming.collected.count == UpstreamConnection.mostCollected
        let reply = takeCollected()
        finishCollected(entry, isCut ? ClientLine.firstLine(of: reply) : reply)
    }

    private func excess(_ expectation: Expectation) -> Excess {
        switch expectation {
        case .commandInfo, .identify, .reset, .replication: .dropped
        case .rewriteList: scanner.isError ? .impossible : .dropped
        // TRACKINGINFO ends with all prefixes.
        case .redirection: scanner.isError ? .impossible : .relayed
        // An element; behind a nil nothing comes.
        case .recalled: isNilRecalled ? .impossible : .relayed
        default: .impossible
        }
    }

    private func relayRest(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, isComplete: Bool
    ) {
        if isComplete {
            incoming.isBegunRelayed = false
            takeNote(entry)
        }
        deliver(entry, bytes, count, isComplete ? 1 : 0)
    }

    func takeCollected() -> [UInt8] {
        defer { incoming.collected = [] }
        return incoming.collected
    }

    /// Passes on bytes in place of a part of a reply that goes on.
    func relay(_ entry: InFlight, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes {
            if let base = $0.baseAddress { deliver(entry, base, $0.count, 0) }
        }
    }
}
