import EventLoop
import TestSupport
import Testing

/// What was read of a socket, and what the last read has returned.
struct Input: Equatable {
    let bytes: [UInt8]
    let last: Int

    init(_ bytes: [UInt8], _ last: Int) {
        self.bytes = bytes
        self.last = last
    }
}

/// One end of a connection, with a note of every call.
final class End {
    var channel = Channel()
    private(set) var readableCalls = 0
    private(set) var writableCalls = 0
    /// What the end does in its calls, besides counting them.
    var onReadable: (End) -> Void = { _ in }

    init(_ descriptor: Int32, _ loop: EventLoop) {
        channel = Channel(
            descriptor: descriptor, loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(),
            onReadable: endReadable, onWritable: endWritable)
    }

    var isOpen: Bool { channel.isOpen }
    var isReading: Bool { channel.isReading }
    var hasInput: Bool { channel.hasInput }
    var peer: PeerState { channel.peer }

    /// Reads until there is no more.
    func readAll() -> Input {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = buffer.withUnsafeMutableBytes {
                channel.receive(into: $0.baseAddress!, count: $0.count)
            }
            if count <= 0 { return Input(all, count) }
            all += buffer[..<count]
        }
    }

    @discardableResult
    func send(_ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes { channel.send($0.baseAddress!, count: $0.count) }
    }

    /// Sends until the socket takes no more; how many bytes that were.
    func fill() -> Int {
        let block = [UInt8](repeating: 7, count: 65_536)
        var sent = 0
        while true {
            let count = send(block)
            if count < 0 { return sent }
            sent += count
        }
    }

    fileprivate func readable() {
        readableCalls += 1
        onReadable(self)
    }

    fileprivate func writable() { writableCalls += 1 }
}

private func endReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<End>.fromOpaque(owner).takeUnretainedValue().readable()
}

private func endWritable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<End>.fromOpaque(owner).takeUnretainedValue().writable()
}

/// Two ends that are connected, and the loop of both.
struct Connection {
    let loop: EventLoop
    let near: End
    let far: End

    init(_ transport: Transport) throws {
        loop = try #require(EventLoop())
        let (one, other) = try connectedPair(transport)
        near = End(one, loop)
        far = End(other, loop)
    }

    /// Turns that do not wait: what is ready now is all there is.
    func turn(_ count: Int = 1) {
        for _ in 0..<count { #expect(loop.runOnce(waiting: false)) }
    }
}

/// Something that a timer, a watch or a signal belongs to.
final class Counter {
    var calls = 0
    var onCall: () -> Void = {}
    var pointer: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }
}

func count(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    let counter = Unmanaged<Counter>.fromOpaque(owner).takeUnretainedValue()
    counter.calls += 1
    counter.onCall()
}
