import RESP
import TestSupport
import Testing
import Topology

/// An array of bulk strings, as RESP2 has it.
func texts(_ words: [String]) -> [UInt8] {
    var output: [UInt8] = []
    Encode.command(words, into: &output)
    return output
}

/// An array of replies.
func array(_ elements: [[UInt8]]) -> [UInt8] {
    Array("*\(elements.count)\r\n".utf8) + elements.joined()
}

@Suite("What Sentinels say")
struct SentinelReplyTests {
    private static let address = texts(["127.0.0.1", "27100"])
    private static let other = texts(["127.0.0.1", "27101"])
    private static let runID = "6ef35c63870ecbfeed6e681cbe34ffa7259f7593"

    /// SENTINEL MASTER of Redis 7.0.15.
    private static func row(
        port: String = "27100", epoch: String = "0", flags: String = "master"
    ) -> [UInt8] {
        texts([
            "name", "mymaster", "ip", "127.0.0.1", "port", port, "runid",
            "b1eab9a7510e37c88fab71246d1bac6dc3b6a6d0", "flags", flags, "link-pending-commands",
            "0", "link-refcount", "1", "last-ping-sent", "0", "last-ok-ping-reply", "51",
            "last-ping-reply", "51", "down-after-milliseconds", "2000", "info-refresh", "4233",
            "role-reported", "master", "role-reported-time", "4249", "config-epoch", epoch,
            "num-slaves", "1", "num-other-sentinels", "2", "quorum", "2", "failover-timeout",
            "10000", "parallel-syncs", "1",
        ])
    }

    private static let peers = array([
        texts([
            "name", "0043064c8ae72afe1901566812f99e609103dc35", "ip", "127.0.0.1", "port", "27112",
            "runid", "0043064c8ae72afe1901566812f99e609103dc35", "flags", "sentinel",
        ]),
        texts(["name", "half", "ip", "127.0.0.1", "port", "27111"]),
        texts(["ip", "127.0.0.1", "port", "0", "runid", Self.runID]),
        texts(["ip", "127.0.0.1", "port", "27111", "runid", "?"]),
    ])

    private func claim(_ first: [UInt8], _ row: [UInt8], _ last: [UInt8]) -> PrimaryClaim? {
        SentinelAnswer(replies: [first, row, last, Self.peers, array([])]).claim
    }

    private func expected(_ port: UInt16, _ epoch: Int64) throws -> PrimaryClaim {
        let address = try #require(NodeAddress(host: Array("127.0.0.1".utf8), port: port))
        return PrimaryClaim(address: address, epoch: epoch)
    }

    @Test("the questions are five, or six where replicas are wanted; one has no name")
    func questions() {
        let questions = SentinelAnswer.questions(about: Array("my master".utf8))
        #expect(questions.map(\.count) == [3, 3, 3, 3, 2])
        let more = SentinelAnswer.questions(about: Array("my master".utf8), withReplicas: true)
        #expect(more.prefix(5) == questions[...])
        #expect(more[5...] == [["SENTINEL", "REPLICAS", "my master"].map { Array($0.utf8) }])
        #expect(questions[1] == ["SENTINEL", "MASTER", "my master"].map { Array($0.utf8) })
    }

    @Test("a whole answer")
    func whole() throws {
        let own = Array("$40\r\n\(Self.runID)\r\n".utf8)
        let answer = SentinelAnswer(
            replies: [Self.address, Self.row(epoch: "7"), Self.address, Self.peers, own])
        let address = try #require(NodeAddress(host: Array("127.0.0.1".utf8), port: 27112))
        #expect(answer.claim == (try expected(27100, 7)))
        #expect(answer.runID == Array(Self.runID.utf8))
        let peerID = Array("0043064c8ae72afe1901566812f99e609103dc35".utf8)
        #expect(answer.peers == [SentinelPeer(address: address, runID: peerID)])
    }

    @Test("a map of RESP3 is read as the array of RESP2")
    func map() throws {
        let row = Array("%20".utf8) + Self.row(epoch: "3").dropFirst(3)
        #expect(claim(Self.address, row, Self.address) == (try expected(27100, 3)))
    }

    /// As recorded: the leader's row still has the old address when its epoch is the new one.
    @Test("during a switch the new epoch belongs to the new address alone")
    func switching() throws {
        let flags = "master,failover_in_progress,force_failover"
        let row = Self.row(epoch: "1", flags: flags)
        #expect(claim(Self.other, row, Self.other) == (try expected(27101, 1)))
        #expect(claim(Self.address, row, Self.other) == nil)
        #expect(claim(Self.other, Self.row(epoch: "1"), Self.other) == nil)
        #expect(
            claim(Self.address, Self.row(flags: flags), Self.address) == (try expected(27100, 0)))
        #expect(claim(Self.address, Self.row(), Self.other) == nil)
    }

    @Test(
        "what is not understood is not said",
        arguments: [
            "*-1\r\n", "_\r\n", "-ERR No such master with that name\r\n", "+OK\r\n", "$-1\r\n", "",
            "*2\r\n$9\r\n127.0.0.1\r\n", "*2\r\n$9\r\n127.0.0.1\r\n$1\r\n0\r\n",
            "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n65536\r\n", "*2\r\n$0\r\n\r\n$4\r\n6379\r\n",
            "*2\r\n$9\r\n127.0.0.1\r\n$20\r\n18446744073709551615\r\n", "*1\r\n*1\r\n*0\r\n",
            "*2147483647\r\n", "%2147483647\r\n", "*2\r\n*0\r\n*0\r\n",
        ])
    func unknown(text: String) {
        let reply = Array(text.utf8)
        #expect(claim(reply, Self.row(), reply) == nil)
        #expect(claim(Self.address, reply, Self.address) == nil)
        let answer = SentinelAnswer(replies: [reply, reply, reply, reply, reply])
        #expect(answer == SentinelAnswer())
        #expect(ServerRole(reply) != .primary)
    }

    @Test("epochs are numbers from 0 on", arguments: ["", "-1", "+1", "01", "9223372036854775807"])
    func epochs(text: String) {
        #expect(claim(Self.address, Self.row(epoch: text), Self.address) == nil)
    }

    /// An element of SENTINEL REPLICAS of Redis 7.0.15.
    private static func replica(
        _ port: String, flags: String = "slave", link: String = "ok"
    ) -> [UInt8] {
        texts([
            "name", "127.0.0.1:\(port)", "ip", "127.0.0.1", "port", port, "runid",
            "b1eab9a7510e37c88fab71246d1bac6dc3b6a6d0", "flags", flags, "link-pending-commands",
            "0", "link-refcount", "1", "last-ping-sent", "0", "last-ok-ping-reply", "51",
            "last-ping-reply", "51", "down-after-milliseconds", "2000", "info-refresh", "4233",
            "role-reported", "slave", "role-reported-time", "4249", "master-link-down-time", "0",
            "master-link-status", link, "master-host", "127.0.0.1", "master-port", "27100",
            "slave-priority", "100", "slave-repl-offset", "2312", "replica-announced", "1",
        ])
    }

    private func replicas(_ reply: [UInt8]) -> SentinelReplicas? {
        SentinelAnswer(
            replies: [Self.address, Self.row(), Self.address, Self.peers, array([]), reply]
        ).replicas
    }

    @Test("replicas that are up and linked, each once")
    func replicasThatAreUp() throws {
        let up = try [27101, 27102].map {
            try #require(NodeAddress(host: Array("127.0.0.1".utf8), port: $0))
        }
        let all = ["27101", "27102", "27101"].map { Self.replica($0) }
        #expect(replicas(array(all)) == SentinelReplicas(up: up))
        #expect(replicas(array([])) == SentinelReplicas(up: []))
        let maps = array(all.map { Array("%21".utf8) + $0.dropFirst(3) })
        #expect(replicas(maps) == SentinelReplicas(up: up))
    }

    @Test(
        "a replica that is down, or gets no writes, is not used",
        arguments: [
            ("slave,s_down", "ok"), ("s_down,slave,disconnected", "err"), ("o_down,slave", "ok"),
            ("slave", "err"), ("slave", ""), ("slave,disconnected", "ok"), ("S_DOWN", "ok"),
        ])
    func replicasThatAreDown(flags: String, link: String) throws {
        let up = try #require(NodeAddress(host: Array("127.0.0.1".utf8), port: 27101))
        let reply = array([Self.replica("27102", flags: flags, link: link), Self.replica("27101")])
        #expect(replicas(reply) == SentinelReplicas(up: [up], hasOthers: true))
    }

    @Test("half an element is none, and an error says nothing of replicas")
    func replicasThatAreNotSaid() {
        let none = SentinelReplicas(up: [], hasOthers: true)
        #expect(replicas(array([texts(["flags", "slave", "master-link-status", "ok"])])) == none)
        #expect(replicas(array([Self.replica("0")])) == none)
        #expect(replicas(array([texts(["ip", "127.0.0.1", "port", "27101"])])) == none)
        for reply in ["-NOPERM no\r\n", "-ERR No such master with that name\r\n", "+OK\r\n"] {
            #expect(replicas(Array(reply.utf8)) == nil)
        }
    }

    @Test("any number of replies but five or six says nothing")
    func counts() {
        #expect(SentinelAnswer(replies: []) == SentinelAnswer())
        #expect(SentinelAnswer(replies: [Self.address]) == SentinelAnswer())
    }

    @Test("the messages of a failover, as recorded")
    func messages() {
        let name = Array("mymaster".utf8)
        func read(_ channel: String, _ text: String) -> SentinelMessage? {
            SentinelMessage(texts(["message", channel, text]), about: name)
        }
        #expect(read("+switch-master", "mymaster 127.0.0.1 1 127.0.0.1 2") == .switched)
        let replica = "slave 127.0.0.1:2 127.0.0.1 2 @ mymaster 127.0.0.1 1"
        #expect(read("+promoted-slave", replica) == .switched)
        #expect(read("+slave", replica) == .changed)
        #expect(read("+sdown", "master mymaster 127.0.0.1 1") == .changed)
        #expect(read("+switch-master", "mymaster2 127.0.0.1 1 127.0.0.1 2") == nil)
        #expect(read("+switch-master", "my 127.0.0.1 1 127.0.0.1 2") == nil)
        #expect(read("+switch-master", "") == nil)
        #expect(SentinelMessage(texts(["subscribe", "+sdown", "mymaster"]), about: name) == nil)
        #expect(SentinelMessage(Array("+PONG\r\n".utf8), about: name) == nil)
        let push = Array(">3".utf8) + texts(["message", "+sdown", "mymaster"]).dropFirst(2)
        #expect(SentinelMessage(push, about: name) == .changed)
    }

    @Test("ROLE, as recorded")
    func roles() {
        let replicas = array([texts(["127.0.0.1", "27101", "425"])])
        let primary = array([Array("$6\r\nmaster\r\n".utf8), Array(":850\r\n".utf8), replicas])
        #expect(ServerRole(primary) == .primary)
        #expect(ServerRole(texts(["slave", "127.0.0.1", "27100", "connected", "425"])) == .other)
        #expect(ServerRole(array([Array("$8\r\nsentinel\r\n".utf8), texts(["m"])])) == .other)
        #expect(ServerRole(Array("-NOAUTH Authentication required.\r\n".utf8)) == nil)
    }

    @Test("no bytes trap", arguments: 0..<8)
    func damaged(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let own = Array("$40\r\n\(Self.runID)\r\n".utf8)
        let whole = [Self.address, Self.row(), Self.address, Self.peers, own]
        for _ in 0..<300 {
            let damaged = whole.map { reply in
                var reply = reply
                for _ in 0..<random.below(4) where !reply.isEmpty {
                    let place = random.below(reply.count)
                    switch random.below(3) {
                    case 0: reply[place] = UInt8(truncatingIfNeeded: random.next())
                    case 1: reply.removeSubrange(place...)
                    default: reply.insert(UInt8(ascii: "9"), at: place)
                    }
                }
                return reply
            }
            let answer = SentinelAnswer(replies: damaged)
            #expect((answer.claim?.epoch ?? 0) >= 0)
            for reply in damaged {
                _ = ServerRole(reply)
                _ = SentinelMessage(reply, about: Array("mymaster".utf8))
            }
        }
    }
}
