import RESP
import TestSupport
import Testing

@testable import Session

private let table = CommandTable()
private let commands = table.all.indices.compactMap { Command(rawValue: UInt16($0)) }

private func bytes(_ texts: [String]) -> [[UInt8]] { texts.map { Array($0.utf8) } }

private func merged(_ command: Command, _ replies: String..., random: UInt64 = 0) throws -> String?
{
    let merge = try #require(NodeMerge(command))
    return merge.merged(bytes(replies), random: random).map { String(decoding: $0, as: UTF8.self) }
}

@Suite("Replies of several nodes to one command")
struct NodeMergeTests {
    @Test("every command that goes to several nodes has a merge, and no other")
    func complete() {
        for command in commands {
            let rule = table.clusterRule(command)
            let goesToSeveral = [.all, .every, .offset].contains(rule)
            let name = table.info(command)?.name ?? ""
            #expect((NodeMerge(command) != nil) == goesToSeveral, "\(name)")
        }
        #expect(NodeMerge(.unknown) == nil)
    }

    @Test("statuses and texts that are alike: the first")
    func alike() throws {
        #expect(try merged(.flushall, "+OK\r\n", "+OK\r\n") == "+OK\r\n")
        let started = "+Background saving started\r\n"
        #expect(try merged(.bgsave, started, "+Background saving scheduled\r\n") == started)
        #expect(try merged(.scriptLoad, "$2\r\nab\r\n", "$2\r\nab\r\n") == "$2\r\nab\r\n")
        #expect(try merged(.flushall, "+OK\r\n", "$2\r\nOK\r\n") == nil)
        #expect(try merged(.scriptLoad, "$2\r\nab\r\n", "$-1\r\n") == nil)
    }

    @Test("numbers: sums, the least, the largest")
    func numbers() throws {
        #expect(try merged(.dbsize, ":3\r\n", ":0\r\n", ":4\r\n") == ":7\r\n")
        #expect(try merged(.lastsave, ":30\r\n", ":10\r\n", ":20\r\n") == ":10\r\n")
        #expect(try merged(.wait, ":2\r\n", ":1\r\n") == ":1\r\n")
        #expect(try merged(.aclDeluser, ":0\r\n", ":1\r\n") == ":1\r\n")
        let both = try merged(.waitaof, "*2\r\n:1\r\n:0\r\n", "*2\r\n:0\r\n:2\r\n")
        #expect(both == "*2\r\n:0\r\n:0\r\n")
        #expect(try merged(.waitaof, "*1\r\n:1\r\n") == nil)
        #expect(try merged(.dbsize, ":\(Int64.max)\r\n", ":1\r\n") == nil)
        #expect(try merged(.dbsize, ":-1\r\n") == nil)
        #expect(try merged(.dbsize, "$1\r\n1\r\n") == nil)
    }

    @Test("arrays: one behind the other, sets of RESP3 too")
    func lists() throws {
        let keys = try merged(.keys, "*1\r\n$1\r\na\r\n", "*0\r\n", "*2\r\n$1\r\nb\r\n$1\r\na\r\n")
        #expect(keys == "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\na\r\n")
        #expect(try merged(.keys, "~1\r\n$1\r\na\r\n", "~0\r\n") == "~1\r\n$1\r\na\r\n")
        let slow = "*1\r\n*2\r\n:1\r\n*1\r\n$1\r\na\r\n"
        let two = try merged(.slowlogGet, slow, slow)
        #expect(two == "*2\r\n*2\r\n:1\r\n*1\r\n$1\r\na\r\n*2\r\n:1\r\n*1\r\n$1\r\na\r\n")
        #expect(try merged(.aclLog, "+OK\r\n", "+OK\r\n") == "+OK\r\n")
        let log = try merged(.aclLog, "*1\r\n%1\r\n+a\r\n:1\r\n", "*0\r\n")
        #expect(log == "*1\r\n%1\r\n+a\r\n:1\r\n")
        #expect(try merged(.aclLog, "+OK\r\n", "*0\r\n") == nil)
        #expect(try merged(.keys, "*-1\r\n") == nil)
        #expect(try merged(.keys, "%1\r\n$1\r\na\r\n$1\r\nb\r\n") == nil)
    }

    @Test("PUBSUB: no name twice, numbers by name")
    func subscriptions() throws {
        let names = try merged(
            .pubsubChannels, "*2\r\n$1\r\na\r\n$1\r\nb\r\n", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n")
        #expect(names == "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n")
        let counts = try merged(
            .pubsubNumsub, "*4\r\n$1\r\na\r\n:1\r\n$1\r\na\r\n:1\r\n",
            "*4\r\n$1\r\na\r\n:2\r\n$1\r\na\r\n:2\r\n")
        #expect(counts == "*4\r\n$1\r\na\r\n:3\r\n$1\r\na\r\n:3\r\n")
        let map = try merged(
            .pubsubShardnumsub, "%1\r\n$1\r\na\r\n:1\r\n", "%1\r\n$1\r\na\r\n:2\r\n")
        #expect(map == "%1\r\n$1\r\na\r\n:3\r\n")
        #expect(try merged(.pubsubNumsub, "*0\r\n", "*0\r\n") == "*0\r\n")
        let other = try merged(
            .pubsubNumsub, "*2\r\n$1\r\na\r\n:1\r\n", "*2\r\n$1\r\nb\r\n:2\r\n")
        #expect(other == nil)
        #expect(try merged(.pubsubNumsub, "*2\r\n$1\r\na\r\n:1\r\n", "*0\r\n") == nil)
        #expect(try merged(.pubsubNumsub, "*1\r\n$1\r\na\r\n") == nil)
    }

    @Test("SCRIPT EXISTS: on all nodes")
    func scripts() throws {
        let flags = try merged(
            .scriptExists, "*3\r\n:1\r\n:1\r\n:0\r\n", "*3\r\n:1\r\n:0\r\n:0\r\n")
        #expect(flags == "*3\r\n:1\r\n:0\r\n:0\r\n")
        #expect(try merged(.scriptExists, "*1\r\n:1\r\n", "*2\r\n:1\r\n:1\r\n") == nil)
        #expect(try merged(.scriptExists, "*1\r\n:2\r\n") == nil)
    }

    @Test("RANDOMKEY: one of those that are not null")
    func keys() throws {
        let replies = ["$-1\r\n", "$1\r\na\r\n", "_\r\n", "$1\r\nb\r\n"]
        for random in 0..<4 as Range<UInt64> {
            let found = try merged(
                .randomkey, replies[0], replies[1], replies[2], replies[3], random: random)
            #expect(found == (random % 2 == 0 ? replies[1] : replies[3]))
        }
        #expect(try merged(.randomkey, "$-1\r\n", "$-1\r\n") == "$-1\r\n")
        #expect(try merged(.randomkey, "_\r\n", "_\r\n", random: .max) == "_\r\n")
        #expect(try merged(.randomkey, "*-1\r\n") == nil)
    }

    @Test("KILL: OK if one node had a script, else the error that says most")
    func kill() throws {
        let idle = "-NOTBUSY No scripts in execution right now.\r\n"
        let stuck = "-UNKILLABLE Sorry the script already executed write commands\r\n"
        #expect(try merged(.scriptKill, idle, "+OK\r\n", idle) == "+OK\r\n")
        #expect(try merged(.scriptKill, idle, idle) == idle)
        #expect(try merged(.functionKill, idle, stuck, idle) == stuck)
        #expect(try merged(.scriptKill, idle, ":1\r\n") == nil)
    }

    @Test("the first error is the answer, of either kind")
    func errors() throws {
        #expect(try merged(.dbsize, ":1\r\n", "-A\r\n", "-B\r\n") == "-A\r\n")
        #expect(try merged(.flushall, "!4\r\nERR x\r\n", "-B\r\n") == nil)
        #expect(try merged(.flushall, "+OK\r\n", "!5\r\nERR x\r\n", "-B\r\n") == "!5\r\nERR x\r\n")
    }

    @Test(
        "what is no reply, or more than one, is none",
        arguments: [
            "", ":", ":1", ":1\r\n:2\r\n", "*2\r\n:1\r\n", "*2147483647\r\n", "$9\r\na\r\n",
            ">1\r\n:1\r\n", "|1\r\n+a\r\n+b\r\n:1\r\n", "*?\r\n", "x\r\n", "*-2\r\n",
        ])
    func broken(reply: String) {
        for command in commands {
            guard let merge = NodeMerge(command) else { continue }
            #expect(merge.merged(bytes([reply]), random: 1) == nil)
            #expect(merge.merged(bytes(["+OK\r\n", reply]), random: 1) == nil)
        }
        #expect(NodeMerge.status.merged([], random: 0) == nil)
    }

    /// Nodes that have a part of the keys, subscribers and scripts each, and one server that has
    /// them all.
    @Test("whatever the nodes have, the answer is that of one server", arguments: 0..<10)
    func oneServer(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for _ in 0..<100 {
            let nodes = 1 + random.below(5)
            let isResp3 = random.chance(50)
            var keys = [[[UInt8]]](repeating: [], count: nodes)
            for index in 0..<random.below(20) {
                keys[random.below(nodes)].append(random.bytes(random.below(20)) + [UInt8(index)])
            }
            let all = keys.flatMap { $0 }
            let sizes = keys.map { number($0.count) }
            #expect(NodeMerge.sum.merged(sizes, random: 0) == number(all.count))
            let lists = NodeMerge.list.merged(keys.map { array($0, isResp3) }, random: 0)
            #expect(lists == array(all, isResp3))

            let picks = keys.map { $0.isEmpty ? null(isResp3) : bulk($0[random.below($0.count)]) }
            let picked = NodeMerge.choice.merged(picks, random: random.next())
            #expect(all.isEmpty ? picked == null(isResp3) : all.map(bulk).contains(picked))

            let channels = (0..<nodes).map { _ in
                (0..<5).filter { _ in random.chance(40) }.map { Array("channel\($0)".utf8) }
            }
            let known = channels.flatMap { $0 }
            let names = NodeMerge.names.merged(channels.map { array($0, isResp3) }, random: 0)
            var expected: [[UInt8]] = []
            for name in known where !expected.contains(name) { expected.append(name) }
            #expect(names == array(expected, isResp3))

            let wanted = (0..<random.below(8)).map { _ in Array("channel\(random.below(6))".utf8) }
            let counts = channels.map { subscribers(wanted, $0) }
            #expect(NodeMerge.counts.merged(counts, random: 0) == subscribers(wanted, known))

            let scripts = (0..<nodes).map { _ in (0..<4).map { _ in random.chance(80) } }
            let flags = scripts.map { array($0.map { number($0 ? 1 : 0) }) }
            let both = (0..<4).map { index in number(scripts.allSatisfy { $0[index] } ? 1 : 0) }
            #expect(NodeMerge.flags.merged(flags, random: 0) == array(both))
        }
    }

    /// Pieces of replies in any order: nothing traps, and what comes out is one reply.
    @Test("no replies trap", arguments: 0..<6)
    func hostile(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let pieces = bytes([
            "*2\r\n", "*1\r\n", "*0\r\n", "*-1\r\n", "%1\r\n", "~1\r\n", ">1\r\n", "|1\r\n",
            ":1\r\n", ":0\r\n", ":9223372036854775807\r\n", ":-9223372036854775808\r\n",
            "$1\r\na\r\n", "$-1\r\n", "$0\r\n\r\n", "_\r\n", "+OK\r\n", "-NOTBUSY\r\n",
            "!3\r\nERR\r\n", "=5\r\ntxt:a\r\n", "#t\r\n", ",1.5\r\n", "*2147483647\r\n",
            "$2305843009213693951\r\n", "\r\n", "*", "$", "%2147483647\r\n",
        ])
        let merges = commands.compactMap { NodeMerge($0) }
        for _ in 0..<4000 {
            let replies = (0..<(1 + random.below(3))).map { _ in
                (0..<(1 + random.below(5))).flatMap { _ in pieces[random.below(pieces.count)] }
            }
            let merge = merges[random.below(merges.count)]
            guard let reply = merge.merged(replies, random: random.next()) else { continue }
            var scanner = ReplyScanner()
            #expect(scanner.scan(reply.span, from: 0) == .complete(end: reply.count))
        }
    }

    private func number(_ value: Int) -> [UInt8] { Array(":\(value)\r\n".utf8) }

    private func null(_ isResp3: Bool) -> [UInt8] { Array((isResp3 ? "_\r\n" : "$-1\r\n").utf8) }

    private func bulk(_ bytes: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        Encode.bulk(bytes, into: &output)
        return output
    }

    private func array(_ elements: [[UInt8]]) -> [UInt8] {
        Array("*\(elements.count)\r\n".utf8) + elements.flatMap { $0 }
    }

    private func array(_ texts: [[UInt8]], _ isSet: Bool) -> [UInt8] {
        Array("\(isSet ? "~" : "*")\(texts.count)\r\n".utf8) + texts.flatMap { bulk($0) }
    }

    private func subscribers(_ names: [[UInt8]], _ known: [[UInt8]]) -> [UInt8] {
        array(names.flatMap { name in [bulk(name), number(known.count { $0 == name })] })
    }
}
