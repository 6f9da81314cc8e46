import Glibc
import TestSupport
import Testing

@testable import EventLoop

@Suite("TLS: how much of what was sent the peer may have read")
struct TLSRecordsTests {
    /// A peer that has received some ciphertext, and what it can open of it.
    private struct Model {
        var ends: [(plain: Int64, cipher: Int64)] = []

        func opened(with ciphertext: Int64) -> Int64 {
            ends.last { $0.cipher <= ciphertext }?.plain ?? 0
        }
    }

    @Test("100,000 random schedules of records, answers and ends agree with a model")
    func model() {
        var random = SeededRandom(seed: 7)
        for _ in 0..<100_000 {
            var records = TLSRecords()
            var model = Model()
            var (plain, cipher, answered): (Int64, Int64, Int64) = (0, 0, 0)
            for _ in 0..<(1 + random.below(12)) {
                switch random.below(3) {
                case 0 where answered < plain:
                    // Replies come only to what the peer has opened.
                    answered += Int64(1 + random.below(Int(plain - answered)))
                    records.forget(upTo: answered)
                case 1:
                    // Alerts and messages of the handshake have no plaintext.
                    cipher += Int64(random.below(100))
                    fallthrough
                default:
                    plain += Int64(1 + random.below(200))
                    cipher += Int64(20 + random.below(300))
                    records.add(plainEnd: plain, cipherEnd: cipher)
                    model.ends.append((plain, cipher))
                }
            }
            let acknowledged = Int64(random.below(Int(cipher) + 50))
            let expected = model.opened(with: acknowledged)
            let bound = records.plaintext(within: acknowledged)
            // Of what is answered, nobody asks.
            if expected > answered {
                if bound != expected { Issue.record("\(bound), not \(expected)") }
            } else if bound > max(answered, expected) {
                Issue.record("\(bound) is above \(answered)")
            }
        }
    }

    @Test("the bound is what a real peer can open, at every byte of every record")
    func realPeer() throws {
        let relay = try Relay()
        try relay.open()
        let handshake = relay.client.channel.handedForTests
        var random = SeededRandom(seed: 3)
        for size in [1, 300, 20_000, 7] { relay.client.send(random.bytes(size)) }
        relay.collect()
        let all = relay.fromClient.count
        var opened: Int64 = 0
        for count in 1...all {
            relay.passToServer(1)
            opened += Int64(relay.server.readAll().bytes.count)
            let bound = relay.client.channel.boundForTests(handshake + Int64(count))
            if bound != opened { Issue.record("\(bound), not \(opened), at \(count) of \(all)") }
        }
        #expect(opened == 20_308)
        #expect(relay.client.receivedBound(isOrderly: false) == 20_308)
        #expect(relay.client.recordCount == 5)
        relay.client.channel.forgetRecords(upTo: 301)
        #expect(relay.client.recordCount == 3)
        relay.client.channel.forgetRecords(upTo: 20_308)
        #expect(relay.client.recordCount == 0)
        #expect(relay.client.receivedBound(isOrderly: false) == 20_308)
    }

    @Test("what the kernel has not taken is not received")
    func backlog() throws {
        let relay = try Relay()
        try relay.open()
        let block = [UInt8](repeating: 1, count: 100_000)
        var taken = 0
        while true {
            let count = relay.client.send(block)
            if count < 0 { break }
            taken += count
        }
        let bound = try #require(relay.client.receivedBound(isOrderly: false))
        #expect(bound > 0)
        #expect(bound < Int64(taken))
        var got = relay.settle().server.count
        #expect(Int64(got) == bound)
        try relay.loop.run(until: "all is sent") {
            let isDone = relay.client.drain() == 0
            got += relay.settle().server.count
            return isDone
        }
        #expect(got == taken)
        #expect(relay.client.receivedBound(isOrderly: false) == Int64(taken))
    }

    @Test("an acknowledgement counts only if the stream has ended in order")
    func orderly() throws {
        let pair = try Connection(.tcp)
        pair.far.channel.beginTLS(try TLSContext(.server()), as: .server, on: pair.loop)
        pair.near.channel.beginTLS(
            try TLSContext(.client()), as: .client(name: "cache.test", session: nil),
            on: pair.loop)
        try eventually("the handshake") {
            _ = pair.near.readAll()
            _ = pair.far.readAll()
            return pair.near.tlsState == .open && pair.far.tlsState == .open
        }
        #expect(pair.near.receivedBound(isOrderly: true) == 0)
        pair.near.send([UInt8](repeating: 1, count: 1000))
        #expect(pair.near.receivedBound(isOrderly: false) == 1000)
        try eventually("the acknowledgement") {
            pair.near.receivedBound(isOrderly: true) == 1000
        }
        #expect(try Connection(.tcp).near.receivedBound(isOrderly: true) == nil)
    }
}
