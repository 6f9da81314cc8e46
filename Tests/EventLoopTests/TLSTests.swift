import CTLS
import Glibc
import TestSupport
import Testing

@testable import EventLoop

@Suite("TLS: plaintext in, the same plaintext out")
struct TLSTests {
    @Test(
        "a handshake is done, and bytes pass both ways",
        arguments: [TLS1_2_VERSION, TLS1_3_VERSION], [false, true])
    func handshake(_ version: Int32, _ isRSA: Bool) throws {
        let relay = try Relay(
            .client(), .server(isRSA ? .rsaServer : .server), maximum: version)
        #expect(relay.client.tlsState == .handshaking)
        #expect(relay.client.send([1]) == -Int(EAGAIN))
        try relay.open()
        #expect(relay.client.send(Array("PING".utf8)) == 4)
        #expect(relay.server.send(Array("PONG".utf8)) == 4)
        let got = relay.settle()
        #expect(got.server == Array("PING".utf8))
        #expect(got.client == Array("PONG".utf8))
        #expect(!relay.client.hasInput)
        #expect(!relay.client.keepsOutput)
    }

    @Test("every byte can come alone", arguments: [TLS1_2_VERSION, TLS1_3_VERSION])
    func singleBytes(_ version: Int32) throws {
        let relay = try Relay(maximum: version)
        relay.settle(pieces: 1)
        #expect(relay.client.tlsState == .open)
        #expect(relay.server.tlsState == .open)
        var random = SeededRandom(seed: 1)
        let (there, back) = (random.bytes(1000), random.bytes(1000))
        relay.client.send(there)
        relay.server.send(back)
        let got = relay.settle(pieces: 1)
        #expect(got.server == there)
        #expect(got.client == back)
    }

    @Test("a record that is cut anywhere is nothing until its last byte has come")
    func cutRecord() throws {
        let relay = try Relay()
        try relay.open()
        var cut = 1
        while true {
            let text = [UInt8](repeating: UInt8(cut & 255), count: 40)
            relay.client.send(text)
            relay.collect()
            let size = relay.fromClient.count
            guard cut < size else { break }
            relay.passToServer(cut)
            #expect(relay.server.readAll() == Input([], -Int(EAGAIN)), "cut at \(cut)")
            #expect(!relay.server.hasInput)
            relay.passToServer(size - cut)
            #expect(relay.server.readAll() == Input(text, -Int(EAGAIN)), "cut at \(cut)")
            cut += 1
        }
        #expect(cut > 40)
    }

    @Test("pieces of one write are one record, and large ones are split at 16 KB")
    func pieces() throws {
        let relay = try Relay()
        try relay.open()
        var random = SeededRandom(seed: 2)
        let sizes = [1, 0, 20, 16_384, 5, 40_000, 3]
        var pieces = sizes.map { random.bytes($0) }
        let whole = pieces.flatMap { $0 }
        var parts: [IOPart] = []
        for index in pieces.indices {
            pieces[index].withUnsafeMutableBytes { raw in
                let copy = UnsafeMutableRawBufferPointer.allocate(
                    byteCount: max(raw.count, 1), alignment: 1)
                copy.copyMemory(from: UnsafeRawBufferPointer(raw))
                parts.append(IOPart(base: copy.baseAddress, count: raw.count))
            }
        }
        defer { for part in parts { part.base?.deallocate() } }
        let sent = parts.withUnsafeMutableBufferPointer { relay.client.channel.offer($0) }
        #expect(sent == whole.count)
        #expect(relay.client.recordCount == (whole.count + 16_383) / 16_384)
        #expect(relay.settle().server == whole)
    }

    @Test(
        "random sizes through a narrow socket arrive in order, and nothing is hidden from the loop",
        arguments: [1, 2, 3])
    func randomFlow(_ seed: UInt64) throws {
        let pair = try Connection(.tcp)
        for end in [pair.near, pair.far] { narrow(end.channel.descriptor) }
        let server = try TLSContext(.server())
        pair.far.channel.beginTLS(server, as: .server, on: pair.loop)
        pair.near.channel.beginTLS(
            try TLSContext(.client()), as: .client(name: "cache.test", session: nil),
            on: pair.loop)
        let flow = Flow(pair, seed: seed)
        try pair.loop.run(until: "all has arrived") { flow.isDone }
        #expect(flow.isRight)
        #expect(flow.mostKept <= 4 * (16_384 + 300))
        #expect(!pair.near.hasInput)
        #expect(!pair.far.hasInput)
    }

    @Test("what was taken and is not sent is told apart")
    func offers() throws {
        let pair = try Connection(.tcp)
        for end in [pair.near, pair.far] { narrow(end.channel.descriptor) }
        pair.far.channel.beginTLS(try TLSContext(.server()), as: .server, on: pair.loop)
        pair.near.channel.beginTLS(
            try TLSContext(.client()), as: .client(name: "cache.test", session: nil),
            on: pair.loop)
        try eventually("the handshake") {
            _ = pair.far.readAll()
            _ = pair.near.readAll()
            return pair.near.tlsState == .open && pair.far.tlsState == .open
        }
        let bytes = [UInt8](repeating: 1, count: 9000)
        var results = Set<Int>()
        while !pair.near.keepsOutput { results.insert(pair.near.offer(bytes)) }
        #expect(results == [9000, 9001])
        #expect(pair.near.offer(bytes) == -Int(EAGAIN))
        try eventually("the rest is sent") {
            _ = pair.far.readAll()
            return pair.near.drain() == 0
        }
        #expect(pair.near.offer([1]) == 1)
    }

    private func narrow(_ descriptor: Int32) {
        var size: Int32 = 8192
        for option in [SO_SNDBUF, SO_RCVBUF] {
            setsockopt(
                descriptor, SOL_SOCKET, option, &size, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    @Test("input that did not fit comes in the next turn, while reading is on")
    func keptInput() throws {
        let relay = try Relay()
        try relay.open()
        relay.client.send([UInt8](repeating: 9, count: 10_000))
        relay.collect()
        relay.passToServer(.max)
        var got = 0
        relay.server.onReadable = { end in
            var buffer = [UInt8](repeating: 0, count: 1000)
            let count = buffer.withUnsafeMutableBytes {
                end.channel.receive(into: $0.baseAddress!, count: $0.count)
            }
            got += max(count, 0)
        }
        relay.server.channel.startReading()
        // Each read takes 4 KB of ciphertext, and the record has more.
        for _ in 0..<3 { #expect(relay.loop.runOnce()) }
        #expect(got == 1000)
        relay.server.channel.pauseReading()
        #expect(relay.server.hasInput)
        for _ in 0..<3 { #expect(relay.loop.runOnce(waiting: false)) }
        #expect(got == 1000)
        relay.server.channel.startReading()
        // It is called until it reads, as for a socket with unread bytes.
        let read = relay.server.onReadable
        relay.server.onReadable = { _ in }
        let ignored = relay.server.readableCalls
        for _ in 0..<3 { #expect(relay.loop.runOnce()) }
        #expect(relay.server.readableCalls == ignored + 3)
        relay.server.onReadable = read
        for turn in 2...10 {
            // It must not wait: the socket is silent.
            #expect(relay.loop.runOnce())
            #expect(got == turn * 1000)
        }
        #expect(!relay.server.hasInput)
        let calls = relay.server.readableCalls
        for _ in 0..<3 { #expect(relay.loop.runOnce(waiting: false)) }
        #expect(relay.server.readableCalls == calls)
    }

    @Test("a handshaking channel does not spin on a writable socket")
    func waitsForOpening() throws {
        let relay = try Relay()
        relay.client.channel.awaitWritable()
        for _ in 0..<3 { #expect(relay.loop.runOnce(waiting: false)) }
        #expect(relay.client.writableCalls == 0)
        try relay.open()
        #expect(relay.loop.runOnce(waiting: false))
        #expect(relay.client.writableCalls == 1)
        for _ in 0..<3 { #expect(relay.loop.runOnce(waiting: false)) }
        #expect(relay.client.writableCalls == 1)
    }

    @Test("taken is not sent: what the socket has refused is drained behind it")
    func drains() throws {
        let relay = try Relay()
        try relay.open()
        #expect(relay.client.drain() == 0)
        var taken = 0
        let block = [UInt8](repeating: 5, count: 100_000)
        while true {
            let count = relay.client.send(block)
            if count < 0 { break }
            taken += count
        }
        #expect(relay.client.keepsOutput)
        #expect(relay.client.drain() == -Int(EAGAIN))
        relay.client.channel.finishWriting()
        var got = relay.settle().server.count
        try relay.loop.run(until: "all is sent") {
            if relay.client.drain() == 0 { return true }
            got += relay.settle().server.count
            return false
        }
        got += relay.settle().server.count
        #expect(got == taken)
        #expect(relay.server.readAll() == Input([], 0))
    }
}

/// Sends random pieces both ways and reads into buffers of random sizes.
private final class Flow {
    private var random: SeededRandom
    private let ends: [End]
    private var outgoing: [[UInt8]] = []
    private var sent = [0, 0]
    private var received: [[UInt8]] = [[], []]
    private(set) var mostKept = 0

    init(_ pair: Connection, seed: UInt64) {
        random = SeededRandom(seed: seed)
        ends = [pair.near, pair.far]
        for _ in ends {
            var all: [UInt8] = []
            while all.count < 150_000 { all += random.bytes(1 + random.below(60_000)) }
            outgoing.append(all)
        }
        for (index, end) in ends.enumerated() {
            end.onReadable = { [unowned self] end in
                read(index, end)
                write(index, end)
            }
            end.channel.startReading()
        }
    }

    var isDone: Bool {
        for (index, end) in ends.enumerated() { write(index, end) }
        return received[0].count == outgoing[1].count && received[1].count == outgoing[0].count
    }

    var isRight: Bool { received[0] == outgoing[1] && received[1] == outgoing[0] }

    private func read(_ index: Int, _ end: End) {
        var buffer = [UInt8](repeating: 0, count: 1 + random.below(30_000))
        let count = buffer.withUnsafeMutableBytes {
            end.channel.receive(into: $0.baseAddress!, count: $0.count)
        }
        if count > 0 { received[index] += buffer[..<count] }
    }

    private func write(_ index: Int, _ end: End) {
        let left = outgoing[index].count - sent[index]
        let size = left == 0 ? 0 : min(left, 1 + random.below(100_000))
        if size > 0 {
            let piece = Array(outgoing[index][sent[index]..<(sent[index] + size)])
            sent[index] += max(0, end.send(piece))
        } else {
            _ = end.drain()
        }
        mostKept = max(mostKept, end.channel.bytesKept)
        if size > 0 || end.keepsOutput { end.channel.awaitWritable() }
    }
}
