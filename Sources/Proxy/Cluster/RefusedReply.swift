// A command that a node has refused, and the question whether a script has made that up.

import Pool
import RESP
import Session
import Topology

/// A command that a node has refused, and what it has answered.
struct RefusedReply {
    let refusal: NodeRefusal
    let reply: [UInt8]
    let command: Command
    /// The command itself; nil if it is not kept.
    let bytes: [UInt8]?
    /// CLIENT REPLY hides its reply.
    let isSilent: Bool

    /// What the client is told if the command cannot be sent again, for example because it was
    /// streamed. Nil if that is the node's answer.
    func notKept(pool: String) -> [UInt8]? {
        switch refusal {
        case .moved(let slot, _), .ask(let slot, _):
            var bytes: [UInt8] = []
            Encode.error(RedirectEnd.notKept(slot: slot).text(pool: pool), into: &bytes)
            return bytes
        default: return nil
        }
    }

    /// The node refuses the keys too, if perhaps with another map than before. Nil if it does not:
    /// then the script may have made its error up.
    func confirmed(by reply: [UInt8], of own: UpstreamConnection) -> RefusedReply? {
        if reply == self.reply { return self }
        guard let node = own.server.node.address, let now = NodeRefusal(reply, from: node),
            let slot = now.slot, slot == refusal.slot
        else { return nil }
        return RefusedReply(
            refusal: now, reply: reply, command: command, bytes: bytes, isSilent: isSilent)
    }

    /// EXISTS with the keys of a command; nil if it has none.
    func question(_ table: CommandTable) -> [UInt8]? {
        guard let bytes, let spec = table.keySpec(command) else { return nil }
        var scanner = CommandScanner()
        guard
            case .command(let frame) = scanner.scan(
                bytes.span, frameStart: 0, limits: CommandLimits()),
            var walk = KeyWalk(spec, bytes.span, frame)
        else { return nil }
        var words: [[UInt8]] = [Array("EXISTS".utf8)]
        while let key = walk.next(bytes.span) {
            words.append([UInt8](bytes[key.start..<(key.start + key.length)]))
        }
        guard words.count > 1 else { return nil }
        var output: [UInt8] = []
        Encode.command(words, into: &output)
        return output
    }
}

extension UpstreamConnection {
    /// Asks the node for keys that it has refused to a script: the script may have made that up.
    func askWhether(_ question: [UInt8], for client: SlotID, at place: UInt32, asking: Bool) {
        if asking { sendAsking() }
        expect(client, .confirmation, bytes: question.count, value: place)
        send(question)
    }
}

/// What a node of a cluster says where Redpool has to say it.
enum ClusterWords {
    static let crossing = "CROSSSLOT Keys in request don't hash to the same slot"
    static let notServed = "CLUSTERDOWN Hash slot not served"
    static let aborted = "EXECABORT Transaction discarded because of previous errors."
}
