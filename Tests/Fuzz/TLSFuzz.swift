// Fuzzes the TLS of channels: two real ends, and a network between them that cuts, drops, repeats,
// reorders, changes and makes up bytes, in the handshake and after it. Nothing may trap, and no end
// may ever read a byte that the other one has not written at that place. Where the network has only
// cut, everything must arrive.

internal import CTLS
internal import Glibc

/// Reads the input as decisions; zeros when it is used up.
private struct Decisions {
    let bytes: [UInt8]
    var index = 0

    var isOver: Bool { index >= bytes.count }

    mutating func byte() -> UInt8 {
        guard index < bytes.count else { return 0 }
        index += 1
        return bytes[index - 1]
    }

    /// Mostly small, at most `limit`.
    mutating func size(_ limit: Int) -> Int {
        let low = Int(byte())
        return min(low < 0xC0 ? low : (low & 0x3F) << 8 | Int(byte()), limit)
    }
}

private final class End {
    var channel = Channel()
    var sent = 0
    var received = 0
    var bound: Int64 = 0
    /// The stream has ended or failed.
    var isOver = false
    var hasFinished = false

    init(_ descriptor: Int32, _ loop: EventLoop) {
        channel = Channel(
            descriptor: descriptor, loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(),
            onReadable: { _, _, _ in }, onWritable: { _, _, _ in })
        channel.startReading()
    }

    /// The byte at a place of this end's stream.
    func byte(_ place: Int) -> UInt8 { UInt8(truncatingIfNeeded: place &* 7 &+ place >> 8) }

    func send(_ count: Int) {
        if hasFinished { return }
        var bytes = (sent..<sent + count).map(byte)
        let taken = bytes.withUnsafeMutableBytes { channel.send($0.baseAddress!, count: $0.count) }
        if taken > 0 { sent += taken }
        let bound = channel.receivedBound(isOrderly: false) ?? 0
        precondition(bound >= self.bound && bound <= sent, "a bound beyond what was taken")
        self.bound = bound
    }

    func readAll(from other: End, pieces: Int) {
        var buffer = [UInt8](repeating: 0, count: pieces)
        while !isOver {
            let count = buffer.withUnsafeMutableBytes {
                channel.receive(into: $0.baseAddress!, count: $0.count)
            }
            if count == -Int(EAGAIN) { return }
            if count <= 0 {
                isOver = true
                return
            }
            precondition(received + count <= other.sent, "bytes that nobody has written")
            for index in 0..<count {
                precondition(buffer[index] == other.byte(received + index), "a wrong byte")
            }
            received += count
        }
    }
}

/// What the network has of one direction.
private struct Line {
    let from: Int32
    let to: Int32
    var waiting: [UInt8] = []
    var last: [UInt8] = []
    var isTampered = false
    var isEnded = false

    mutating func collect() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(from, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count <= 0 { return }
            waiting += buffer[..<count]
        }
    }

    mutating func pass(_ count: Int) {
        let piece = Array(waiting.prefix(count))
        if piece.isEmpty || isEnded { return }
        let sent = piece.withUnsafeBytes {
            Glibc.send(to, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
        }
        // What the socket has no room for waits.
        if sent <= 0 { return }
        waiting.removeFirst(sent)
        last = Array(piece[..<sent])
    }

    mutating func end() {
        isTampered = true
        isEnded = true
        shutdown(to, Int32(SHUT_WR))
    }

    /// Where the record that begins at `place` ends; nil if it is not there as a whole.
    private func recordEnd(_ place: Int) -> Int? {
        guard place + 5 <= waiting.count else { return nil }
        let end = place + 5 + Int(waiting[place + 3]) << 8 + Int(waiting[place + 4])
        return end <= waiting.count ? end : nil
    }

    mutating func swapRecords() {
        guard let first = recordEnd(0), let second = recordEnd(first) else { return }
        waiting = Array(waiting[first..<second] + waiting[..<first] + waiting[second...])
        isTampered = true
    }

    mutating func repeatRecord() {
        guard let first = recordEnd(0) else { return }
        waiting = Array(waiting[..<first]) + waiting
        isTampered = true
    }
}

private func identity(_ name: String) -> (certificate: [UInt8], key: [UInt8]) {
    var certificate: UnsafeMutablePointer<CChar>?
    var key: UnsafeMutablePointer<CChar>?
    let isMade = name.withCString { text in
        "DNS:cache.test".withCString { names in
            var request = test_certificate_request(
                subject: text, names: names, is_authority: true, is_rsa: false, first_day: -1,
                last_day: 1, issuer: nil, issuer_key: nil)
            return test_certificate_make(&request, &certificate, &key)
        }
    }
    precondition(isMade, "no certificate")
    defer {
        free(certificate)
        free(key)
    }
    return (Array(String(cString: certificate!).utf8), Array(String(cString: key!).utf8))
}

private nonisolated(unsafe) let loop = EventLoop()!
private let own = identity("authority")
private let client = try! TLSContext(
    TLSSettings(side: .client, authorities: own.certificate))
private let servers = [TLS1_2_VERSION, TLS1_3_VERSION].map { maximum in
    let context = try! TLSContext(
        TLSSettings(
            side: .server, verification: .none, certificate: own.certificate, key: own.key))
    SSL_CTX_ctrl(context.handle, SSL_CTRL_SET_MAX_PROTO_VERSION, Int(maximum), nil)
    return context
}

private func pair() -> (Int32, Int32) {
    var ends: [Int32] = [0, 0]
    let result = socketpair(
        AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends)
    precondition(result == 0, "no socket")
    return (ends[0], ends[1])
}

/// Two ends and the network.
private final class World {
    let ends: [End]
    var lines: [Line]
    var pieces = 4096

    init(_ decisions: inout Decisions) {
        let (near, far) = (pair(), pair())
        ends = [End(near.0, loop), End(far.0, loop)]
        lines = [Line(from: near.1, to: far.1), Line(from: far.1, to: near.1)]
        let flags = decisions.byte()
        ends[1].channel.beginTLS(servers[Int(flags & 1)], as: .server, on: loop)
        ends[0].channel.beginTLS(client, as: .client(name: "cache.test", session: nil), on: loop)
        if flags & 2 == 0 {
            for _ in 0..<4 { settle() }
            precondition(ends.allSatisfy { $0.channel.tlsState == .open }, "no handshake")
        }
    }

    func settle() {
        for index in lines.indices {
            lines[index].collect()
            lines[index].pass(.max)
            read()
        }
    }

    func read() {
        ends[0].readAll(from: ends[1], pieces: pieces)
        ends[1].readAll(from: ends[0], pieces: pieces)
        for end in ends { _ = end.channel.drain() }
        _ = loop.runOnce(waiting: false)
    }

    func step(_ decisions: inout Decisions) {
        let choice = decisions.byte()
        let side = Int(choice >> 7)
        lines[side].collect()
        switch choice & 0x0F {
        case 0, 1: ends[side].send(1 + decisions.size(16_383))
        case 2, 3: lines[side].pass(1 + decisions.size(65_535))
        case 4: settle()
        case 5: pieces = 1 + decisions.size(8191)
        case 6:
            lines[side].waiting.removeFirst(min(1 + decisions.size(99), lines[side].waiting.count))
            lines[side].isTampered = true
        case 7:
            lines[side].waiting = lines[side].last + lines[side].waiting
            lines[side].isTampered = true
        case 8:
            let place = decisions.size(65_535)
            if place < lines[side].waiting.count {
                lines[side].waiting[place] ^= max(1, decisions.byte())
                lines[side].isTampered = true
            }
        case 9:
            let garbage = (0..<decisions.size(64)).map { _ in decisions.byte() }
            lines[side].waiting = garbage + lines[side].waiting
            lines[side].isTampered = true
        case 10: lines[side].swapRecords()
        case 11: lines[side].repeatRecord()
        case 12: lines[side].end()
        case 13:
            ends[side].channel.finishWriting()
            ends[side].hasFinished = true
        case 14: ends[side].channel.forgetRecords(upTo: Int64(decisions.size(65_535)))
        default: ends[side].channel.pauseReading()
        }
        read()
    }

    func end() {
        if lines.allSatisfy({ !$0.isTampered }) {
            var before = -1
            while before != ends[0].received + ends[1].received {
                before = ends[0].received + ends[1].received
                for _ in 0..<4 { settle() }
            }
            let isWhole = ends[0].received == ends[1].sent && ends[1].received == ends[0].sent
            precondition(isWhole || ends.contains { $0.hasFinished }, "bytes are missing")
        }
        for end in ends { end.channel.close() }
        _ = loop.runOnce(waiting: false)
        for line in lines { close(line.to) }
    }
}

@c(LLVMFuzzerTestOneInput)
public func fuzzTLS(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    var decisions = Decisions(bytes: Array(UnsafeBufferPointer(start: data, count: size)))
    let world = World(&decisions)
    while !decisions.isOver { world.step(&decisions) }
    world.end()
    return 0
}
