import EventLoop
import Glibc
import Pool
import TestSupport
import Testing

@testable import Proxy

/// A moment, in seconds of the clock.
func at(_ seconds: Double) -> MonotonicTime {
    MonotonicTime(nanoseconds: Int64(seconds * 1_000_000_000))
}

func key(_ user: UInt32, protocol version: UInt8 = 2, database: UInt32 = 0) -> PoolKey {
    PoolKey(user: user, protocolVersion: version, database: database)
}

func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }

func text(_ bytes: some Sequence<UInt8>) -> String { String(decoding: Array(bytes), as: UTF8.self) }

/// The bulk of a reply.
func bulk(_ text: String) -> [UInt8] { utf8("$\(text.utf8.count)\r\n\(text)\r\n") }

/// An array of bulks.
func array(_ texts: [String]) -> [UInt8] { utf8("*\(texts.count)\r\n") + texts.flatMap(bulk) }

/// Whether all bytes are the same: in a debug build `==` takes a hundred times as long.
func isSame(_ one: [UInt8], _ other: [UInt8]) -> Bool {
    one.count == other.count && memcmp(one, other, one.count) == 0
}

/// A socket that something is written to, and what comes out at its other end.
final class Drain {
    var channel = Channel()
    private let far: Int32
    private let loop: EventLoop
    private(set) var received: [UInt8] = []

    /// `room` is about what the socket takes before somebody reads.
    init(room: Int32 = 4096) throws {
        loop = try #require(EventLoop())
        let (near, far) = try connectedPair(.unix)
        self.far = far
        var size = room
        setsockopt(near, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        channel = Channel(
            descriptor: near, loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(),
            onReadable: nothing, onWritable: nothing)
    }

    deinit { close(far) }

    /// Reads at most `count` bytes of what has come.
    func read(_ count: Int = .max) {
        var left = count
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while left > 0 {
            let taken = recv(far, &buffer, min(left, buffer.count), Int32(MSG_DONTWAIT))
            if taken <= 0 { return }
            received += buffer[..<taken]
            left -= taken
        }
    }

    func hangUp() { shutdown(far, Int32(SHUT_RDWR)) }
}

private func nothing(_: Int32, _: Int16, _: UnsafeMutableRawPointer?) {}

/// What a flush came to, to compare with.
func word(_ result: FlushResult) -> String {
    switch result {
    case .empty: "empty"
    case .full: "full"
    case .failed(let code): "failed \(code)"
    }
}
