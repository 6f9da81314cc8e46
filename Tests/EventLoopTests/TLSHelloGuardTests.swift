import Testing

@testable import EventLoop

/// A record of plaintext.
private func record(_ type: UInt8, _ bytes: [UInt8]) -> [UInt8] {
    [type, 3, 1, UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes
}

/// A message of the handshake that announces `length` bytes and has `count` of them.
private func message(_ type: UInt8, length: Int, count: Int? = nil) -> [UInt8] {
    [type, UInt8(length >> 16), UInt8(length >> 8 & 0xFF), UInt8(length & 0xFF)]
        + [UInt8](repeating: 7, count: count ?? length)
}

private let longest = TLSHelloGuard.longestHello

/// After how many bytes the guard refuses, when they come in pieces of this size; nil if it does
/// not.
private func refusal(
    _ bytes: [UInt8], pieces: Int, isVersion13: Bool = true
) -> Int? {
    var hello = TLSHelloGuard()
    for start in stride(from: 0, to: bytes.count, by: pieces) {
        let piece = bytes[start..<min(start + pieces, bytes.count)]
        let isAllowed = piece.withUnsafeBytes { hello.allows($0, isVersion13: isVersion13) }
        if !isAllowed { return start + piece.count }
    }
    return nil
}

@Suite("TLS: the length of a ClientHello") struct TLSHelloGuardTests {
    @Test("one that is too long is refused by its header, however it comes")
    func tooLong() {
        let header = message(1, length: longest + 1, count: 0)
        for pieces in 1...9 {
            let found = refusal(record(22, header), pieces: pieces) ?? 0
            #expect((9..<9 + pieces).contains(found), "\(pieces)")
            let parts = header.flatMap { record(22, [$0]) }
            #expect(refusal(parts, pieces: pieces) != nil, "\(pieces)")
        }
    }

    @Test("so is a second one, behind what does not matter")
    func second() {
        let first = record(22, message(1, length: 300))
        let long = record(22, message(1, length: 1 << 17, count: 0))
        for between in [[], record(20, [1]), record(23, [UInt8](repeating: 22, count: 40))] {
            #expect(refusal(first + between + long, pieces: 4) != nil)
        }
    }

    @Test("what is long enough and what is no ClientHello pass")
    func allowed() {
        let hello = message(1, length: longest)
        let records = stride(from: 0, to: hello.count, by: 1000).flatMap {
            record(22, Array(hello[$0..<min($0 + 1000, hello.count)]))
        }
        for pieces in [1, 3, 1400, 1 << 16] {
            #expect(refusal(records, pieces: pieces) == nil)
        }
        // A certificate, which has a limit in OpenSSL.
        #expect(refusal(record(22, message(11, length: 30_000, count: 9)), pieces: 5) == nil)
    }

    @Test("before 1.3, what follows ChangeCipherSpec is encrypted")
    func encrypted() {
        let finished = record(22, message(1, length: 0xFF_FFFF, count: 36))
        let bytes = record(22, message(1, length: 9)) + record(20, [1]) + finished
        #expect(refusal(bytes, pieces: 7, isVersion13: false) == nil)
        #expect(refusal(bytes, pieces: 7, isVersion13: true) != nil)
    }
}
