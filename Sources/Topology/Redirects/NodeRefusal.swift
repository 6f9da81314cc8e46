// Answers with which a node says that it has not executed a command.

package import RESP

/// What a node has answered in place of a reply, when another node or another time is right.
package enum NodeRefusal: Equatable, Sendable {
    /// Another node has the slot.
    case moved(slot: UInt16, to: NodeAddress)
    /// Another node takes the slot over, and may have the key already.
    case ask(slot: UInt16, to: NodeAddress)
    /// Of the command's keys, some have been taken over by another node.
    case tryAgain
    /// The node does not know who has the slot, or is cut off from the others.
    case clusterDown
    /// READONLY, LOADING or MASTERDOWN.
    case notServing
    /// Nothing was answered: the command has provably not been received.
    case notReceived

    /// The slot that MOVED or ASK names.
    package var slot: UInt16? {
        switch self {
        case .moved(let slot, _), .ask(let slot, _): slot
        default: nil
        }
    }

    /// The longest line that is read. A longer one is no refusal.
    package static let longestLine = 320

    /// Whether an error that begins like this has to be read as a whole.
    package static func mayBegin(with head: ReplyHead) -> Bool {
        head.starts(with: "MOVED ") || head.starts(with: "ASK ") || saysLater(head)
            || saysNotServing(head)
    }

    private static func saysLater(_ head: ReplyHead) -> Bool {
        isWord("TRYAGAIN", in: head) || isWord("CLUSTERDOWN", in: head)
    }

    private static func saysNotServing(_ head: ReplyHead) -> Bool {
        isWord("READONLY", in: head) || isWord("LOADING", in: head)
            || isWord("MASTERDOWN", in: head)
    }

    private static func isWord(_ word: StaticString, in head: ReplyHead) -> Bool {
        guard head.starts(with: word) else { return false }
        let length = word.utf8CodeUnitCount
        return head.count == length ? !head.isTruncated : head.bytes[length] == UInt8(ascii: " ")
    }

    /// Reads a whole reply. Nil for one that is something else, or is not understood to its last
    /// byte: the client gets it as it is.
    ///
    /// - Parameter asked: the node that has answered. Its host stands for one that is left out.
    package init?(_ reply: [UInt8], from asked: NodeAddress) {
        guard reply.count <= NodeRefusal.longestLine, reply.first == UInt8(ascii: "-") else {
            return nil
        }
        var scanner = ReplyScanner()
        guard case .complete(let end) = scanner.scan(reply.span, from: 0), end == reply.count
        else { return nil }
        if NodeRefusal.isWord("TRYAGAIN", in: scanner.head) {
            self = .tryAgain
        } else if NodeRefusal.isWord("CLUSTERDOWN", in: scanner.head) {
            self = .clusterDown
        } else if NodeRefusal.saysNotServing(scanner.head) {
            self = .notServing
        } else {
            let isMoved = scanner.head.starts(with: "MOVED ")
            guard isMoved || scanner.head.starts(with: "ASK "),
                let (slot, address) = NodeRefusal.target(reply[1..<(end - 2)], asked)
            else { return nil }
            self = isMoved ? .moved(slot: slot, to: address) : .ask(slot: slot, to: address)
        }
    }

    /// The slot and the node in `MOVED 3999 127.0.0.1:6381`. The host is empty or `?` when the one
    /// that says it does not know it.
    private static func target(
        _ line: ArraySlice<UInt8>, _ asked: NodeAddress
    ) -> (UInt16, NodeAddress)? {
        let words = line.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
        guard words.count == 3,
            let slot = Word.integer(Array(words[1]), in: 0...(Int64(Slot.count) - 1)),
            let colon = words[2].lastIndex(of: UInt8(ascii: ":"))
        else { return nil }
        let host = words[2][..<colon]
        let isLeftOut = host.isEmpty || (host.count == 1 && host.first == UInt8(ascii: "?"))
        let known = isLeftOut ? asked.host[...] : host
        let port = words[2][(colon + 1)...]
        guard let address = NodeAddress(host: known, port: port) else { return nil }
        return (UInt16(slot), address)
    }
}
