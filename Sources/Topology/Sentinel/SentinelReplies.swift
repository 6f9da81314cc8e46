// What Sentinels say, read from whole replies. Recorded from Sentinels of Redis 6.2.14, 7.0.15 and
// 8.0.2 and of Valkey 8.0.1 and 8.1.1, which agree unless a version is named:
//
// - SENTINEL GET-MASTER-ADDR-BY-NAME: `["127.0.0.1", "27100"]`; `*-1` or `_` for an unknown name.
//   GET-PRIMARY-ADDR-BY-NAME exists in Valkey alone: Redis answers `ERR unknown subcommand`.
// - SENTINEL MASTER: a list of 40 names and values, in RESP3 a map; `ERR No such master with that
//   name` for an unknown one. Of them count: ip, port, flags, config-epoch.
// - SENTINEL SENTINELS: such a list for each of the others; never the one that is asked.
// - SENTINEL REPLICAS: such a list for each replica that it has ever seen, dead ones included. Of
//   them count: ip, port, flags, master-link-status (ok, err). A replica that it has not asked for
//   INFO yet, as after a failover, has `err`.
// - SENTINEL MYID: 40 digits. It is the `runid` that others give for it.
// - During a failover MASTER names the old primary. The leader's MASTER has the new config-epoch
//   with it from the promotion on, and the flag failover_in_progress, until all replicas follow
//   the new one: 70 to 100 ms with one replica, `failover-timeout` at most.
//   GET-MASTER-ADDR-BY-NAME names the new primary from the promotion on. So an address of MASTER's
//   is believed with its epoch only if GET-MASTER-ADDR-BY-NAME says the same before and after.
// - The other Sentinels name the new primary and its epoch 60 to 140 ms after the leader.
// - A Sentinel that has been told of a primary anew (SENTINEL REMOVE, MONITOR) says epoch 0, until
//   another one's message brings the present one. SENTINEL RESET keeps the epoch and empties the
//   list of the others for up to 2 s.

import RESP

/// An address that is said to be the primary's, with the epoch of the configuration that says so.
package struct PrimaryClaim: Hashable, Sendable {
    package let address: NodeAddress
    /// `config-epoch`. A failover raises it; Sentinels take over what has a higher one.
    package let epoch: Int64

    package init(address: NodeAddress, epoch: Int64) {
        self.address = address
        self.epoch = epoch
    }
}

/// Another Sentinel, as SENTINEL SENTINELS names it.
package struct SentinelPeer: Hashable, Sendable {
    package let address: NodeAddress
    /// What SENTINEL MYID answers there.
    package let runID: [UInt8]

    package init(address: NodeAddress, runID: [UInt8]) {
        self.address = address
        self.runID = runID
    }
}

/// What a Sentinel has answered to the questions of one round.
package struct SentinelAnswer: Equatable, Sendable {
    /// Nil when it knows no primary of that name, or its answers do not fit together.
    package var claim: PrimaryClaim?
    /// Its own id; nil when it does not say.
    package var runID: [UInt8]?
    /// The Sentinels that it knows.
    package var peers: [SentinelPeer] = []
    /// The primary's replicas that are up; nil when it was not asked, or does not say.
    package var replicas: SentinelReplicas?

    /// For an answer that says nothing.
    package init(
        claim: PrimaryClaim? = nil, runID: [UInt8]? = nil, peers: [SentinelPeer] = [],
        replicas: SentinelReplicas? = nil
    ) {
        self.claim = claim
        self.runID = runID
        self.peers = peers
        self.replicas = replicas
    }
}

extension SentinelAnswer {
    /// The questions of a round, in the order of the replies that `init(replies:)` takes. They are
    /// sent in one piece.
    ///
    /// - Parameter withReplicas: clients read from replicas.
    package static func questions(
        about name: [UInt8], withReplicas: Bool = false
    ) -> [[[UInt8]]] {
        let questions = [
            "GET-MASTER-ADDR-BY-NAME", "MASTER", "GET-MASTER-ADDR-BY-NAME", "SENTINELS", "MYID",
        ]
        return (questions + (withReplicas ? ["REPLICAS"] : [])).map {
            let words = [Array("SENTINEL".utf8), Array($0.utf8)]
            return $0 == "MYID" ? words : words + [name]
        }
    }

    /// Reads the replies to `questions`. What is not understood counts as not said.
    package init(replies: [[UInt8]]) {
        self.init()
        guard replies.count == 5 || replies.count == 6 else { return }
        claim = PrimaryClaim(before: replies[0], row: replies[1], after: replies[2])
        peers = SentinelPeer.all(in: replies[3])
        runID = SentinelAnswer.runID(in: replies[4])
        if replies.count == 6 { replicas = SentinelReplicas(replies[5]) }
    }

    private static func runID(in reply: [UInt8]) -> [UInt8]? {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span), item.type == UInt8(ascii: "$"),
            isRunID(reply[item.range])
        else { return nil }
        return Array(reply[item.range])
    }

    fileprivate static func isRunID(_ text: ArraySlice<UInt8>) -> Bool {
        text.count == 40 && text.allSatisfy { (0x30...0x39).contains($0) || Word.isLetter($0) }
    }
}

/// The replicas of a primary, as SENTINEL REPLICAS names them.
package struct SentinelReplicas: Equatable, Sendable {
    /// Those that are up, and that get the primary's writes; each once.
    package var up: [NodeAddress]
    /// Others are named as well: they may come up soon.
    package var hasOthers: Bool

    /// For tests.
    package init(up: [NodeAddress], hasOthers: Bool = false) {
        self.up = up
        self.hasOthers = hasOthers
    }

    /// Reads SENTINEL REPLICAS. Nil for any other reply, errors included.
    init?(_ reply: [UInt8]) {
        guard let rows = ReplyTexts.rows(reply) else { return nil }
        self.init(up: [])
        for fields in rows {
            guard SentinelReplicas.isUp(fields),
                let host = ReplyTexts.value(of: "ip", in: fields),
                let port = ReplyTexts.value(of: "port", in: fields),
                let address = NodeAddress(host: host, port: port)
            else {
                hasOthers = true
                continue
            }
            if !up.contains(address) { up.append(address) }
        }
    }

    private static func isUp(_ fields: [ArraySlice<UInt8>]) -> Bool {
        guard let flags = ReplyTexts.value(of: "flags", in: fields),
            let link = ReplyTexts.value(of: "master-link-status", in: fields)
        else { return false }
        let isDown = flags.split(separator: UInt8(ascii: ",")).contains {
            switch Word(Array($0)) {
            case "s_down", "o_down", "disconnected": true
            default: false
            }
        }
        return !isDown && Word(Array(link)) == "ok"
    }
}

extension PrimaryClaim {
    /// Epochs are counters from 0 on.
    private static let epochs: ClosedRange<Int64> = 0...(Int64.max / 2)

    /// Reads SENTINEL MASTER, with SENTINEL GET-MASTER-ADDR-BY-NAME before and after it. Nil unless
    /// all three tell one story.
    init?(before: [UInt8], row: [UInt8], after: [UInt8]) {
        guard let first = PrimaryClaim.address(in: before),
            first == PrimaryClaim.address(in: after),
            let fields = ReplyTexts.list(row),
            let host = ReplyTexts.value(of: "ip", in: fields),
            let port = ReplyTexts.value(of: "port", in: fields),
            let named = NodeAddress(host: host, port: port),
            let text = ReplyTexts.value(of: "config-epoch", in: fields),
            let epoch = Word.integer(Array(text), in: PrimaryClaim.epochs)
        else { return nil }
        let flags = ReplyTexts.value(of: "flags", in: fields) ?? []
        let isSwitching = flags.split(separator: UInt8(ascii: ",")).contains {
            Word(Array($0)) == "failover_in_progress"
        }
        guard named == first || isSwitching else { return nil }
        self.init(address: first, epoch: epoch)
    }

    private static func address(in reply: [UInt8]) -> NodeAddress? {
        guard let texts = ReplyTexts.list(reply), texts.count == 2 else { return nil }
        return NodeAddress(host: texts[0], port: texts[1])
    }
}

extension SentinelPeer {
    /// Reads SENTINEL SENTINELS. Entries that are not whole are left out.
    static func all(in reply: [UInt8]) -> [SentinelPeer] {
        (ReplyTexts.rows(reply) ?? []).compactMap { fields in
            guard let host = ReplyTexts.value(of: "ip", in: fields),
                let port = ReplyTexts.value(of: "port", in: fields),
                let address = NodeAddress(host: host, port: port),
                let runID = ReplyTexts.value(of: "runid", in: fields),
                SentinelAnswer.isRunID(runID)
            else { return nil }
            return SentinelPeer(address: address, runID: Array(runID))
        }
    }
}
