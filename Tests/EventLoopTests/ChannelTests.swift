import Glibc
import TestSupport
import Testing

@testable import EventLoop

@Suite("Channel: bytes, and what is known of the peer")
struct ChannelTests {
    @Test(
        "bytes arrive as they were sent, and an empty socket says EAGAIN",
        arguments: Transport.allCases)
    func bytes(_ transport: Transport) throws {
        let pair = try Connection(transport)
        #expect(!pair.far.hasInput)
        #expect(pair.far.readAll() == Input([], -Int(EAGAIN)))
        #expect(pair.near.send(Array("hello".utf8)) == 5)
        try eventually("input") { pair.far.hasInput }
        #expect(pair.far.readAll() == Input(Array("hello".utf8), -Int(EAGAIN)))
        #expect(!pair.far.hasInput)
    }

    @Test("several pieces are sent in order with one call", arguments: Transport.allCases)
    func pieces(_ transport: Transport) throws {
        let pair = try Connection(transport)
        let text = UnsafeMutableRawBufferPointer.allocate(byteCount: 6, alignment: 1)
        defer { text.deallocate() }
        text.copyBytes(from: "abcdef".utf8)
        var parts = [0..<1, 1..<1, 1..<4, 4..<6].map {
            IOPart(base: text.baseAddress! + $0.lowerBound, count: $0.count)
        }
        let sent = parts.withUnsafeMutableBufferPointer { pair.near.channel.offer($0) }
        #expect(sent == 6)
        try eventually("input") { pair.far.hasInput }
        #expect(pair.far.readAll().bytes == Array("abcdef".utf8))
        #expect(pair.near.channel.offer(UnsafeMutableBufferPointer(start: nil, count: 0)) == 0)
    }

    @Test("who has finished writing can still read", arguments: Transport.allCases)
    func halfClose(_ transport: Transport) throws {
        let pair = try Connection(transport)
        #expect(pair.far.peer == .there)
        pair.near.send([1])
        pair.near.channel.finishWriting()
        try eventually("the end") { pair.far.peer == .ended }
        #expect(pair.far.hasInput)
        #expect(pair.far.readAll() == Input([1], 0))
        #expect(pair.near.peer == .there)
        pair.far.send([2])
        try eventually("the answer") { pair.near.hasInput }
        #expect(pair.near.readAll() == Input([2], -Int(EAGAIN)))
    }

    @Test(
        "an orderly close is an end, also before what was sent is read",
        arguments: Transport.allCases)
    func orderlyEnd(_ transport: Transport) throws {
        let pair = try Connection(transport)
        pair.near.send([1, 2, 3])
        pair.near.channel.close()
        try eventually("the end") { pair.far.peer != .there }
        #expect(pair.far.peer == .ended)
        #expect(pair.far.readAll() == Input([1, 2, 3], 0))
    }

    @Test("a close with unread bytes breaks the connection", arguments: Transport.allCases)
    func reset(_ transport: Transport) throws {
        let pair = try Connection(transport)
        pair.far.send([1])
        try eventually("input") { pair.near.hasInput }
        pair.near.channel.close()
        try eventually("the reset") { pair.far.peer == .broken }
        #expect(pair.far.channel.pendingError() == ECONNRESET)
        #expect(pair.far.channel.pendingError() == 0)
    }

    @Test("writing to who has gone is an error and no signal", arguments: Transport.allCases)
    func brokenPipe(_ transport: Transport) throws {
        let pair = try Connection(transport)
        pair.near.channel.close()
        var last = 0
        try eventually("the error") {
            last = pair.far.send([1])
            return last < 0
        }
        #expect([-Int(EPIPE), -Int(ECONNRESET)].contains(last))
    }

    @Test("closing is idempotent, and a closed channel answers every question")
    func closed() throws {
        let pair = try Connection(.unix)
        pair.near.channel.startReading()
        pair.near.channel.awaitWritable()
        pair.near.channel.close()
        pair.near.channel.close()
        #expect(!pair.near.isOpen)
        #expect(pair.near.channel.descriptor == -1)
        #expect(!pair.near.isReading)
        #expect(!pair.near.hasInput)
        #expect(pair.near.peer == .there)
        #expect(pair.near.channel.bytesWaiting() == 0)
        #expect(pair.near.channel.acknowledged() == nil)
        #expect(pair.near.channel.pendingError() == EBADF)
        #expect(pair.near.send([1]) == -Int(EBADF))
        #expect(pair.near.readAll() == Input([], -Int(EBADF)))
        pair.near.channel.startReading()
        pair.near.channel.pauseReading()
        pair.near.channel.stopReading()
        pair.near.channel.awaitWritable()
        pair.near.channel.forgetWritable()
        pair.near.channel.limitUnsent(to: 1)
        let isAwaiting = pair.near.channel.isAwaitingWritable
        #expect(!isAwaiting)
        pair.turn()
        #expect(pair.near.readableCalls == 0)
        #expect(pair.near.writableCalls == 0)
    }

    @Test("a channel that goes away closes its descriptor and its registrations")
    func deinitialised() throws {
        let pair = try Connection(.unix)
        pair.near.channel.startReading()
        pair.near.channel.awaitWritable()
        pair.far.send([1])
        pair.near.channel = Channel()
        #expect(!pair.near.isOpen)
        pair.turn()
        #expect(pair.near.readableCalls == 0)
        #expect(pair.near.writableCalls == 0)
        #expect(pair.far.peer == .broken)
    }

    @Test("TCP says how much the peer's kernel has, a unix socket does not")
    func acknowledged() throws {
        let tcp = try Connection(.tcp)
        #expect(tcp.near.channel.acknowledged() == 0)
        tcp.near.send([UInt8](repeating: 1, count: 1000))
        try eventually("an acknowledgement") { tcp.near.channel.acknowledged() == 1000 }
        #expect(tcp.near.channel.bytesWaiting() == 0)
        #expect(try Connection(.unix).near.channel.acknowledged() == nil)
    }

    @Test("what the peer has not taken is counted until it has", arguments: Transport.allCases)
    func bytesWaiting(_ transport: Transport) throws {
        let pair = try Connection(transport)
        #expect(pair.near.channel.bytesWaiting() == 0)
        let sent = pair.near.fill()
        #expect(sent > 0)
        #expect(pair.near.channel.bytesWaiting() > 0)
        var received = 0
        try eventually("all bytes") {
            received += pair.far.readAll().bytes.count
            return received == sent && pair.near.channel.bytesWaiting() == 0
        }
    }

    @Test("what the kernel takes for a peer that does not read can be bounded")
    func unsentLimit() throws {
        func taken(_ limit: Int32) throws -> Int {
            let pair = try Connection(.tcp)
            pair.near.channel.limitUnsent(to: limit)
            return pair.near.fill()
        }
        #expect(try taken(65_536) < taken(0) / 2)
        // A unix socket has no such bound, and works as before.
        let pair = try Connection(.unix)
        pair.near.channel.limitUnsent(to: 65_536)
        #expect(pair.near.send([1]) == 1)
    }

    @Test("a connection that nobody takes ends with an error")
    func refused() throws {
        let loop = try #require(EventLoop())
        let any = try #require(SocketAddress(numericHost: "127.0.0.1", port: 0))
        // Bound, so that nobody else gets the port, but not listening.
        let holder = any.bind()
        defer { close(holder) }
        let closed = try #require(SocketAddress.local(of: holder))
        let descriptor = closed.connect(keepaliveSeconds: 0, userTimeoutMilliseconds: 0)
        if descriptor < 0 {
            #expect(descriptor == -ECONNREFUSED)
            return
        }
        let end = End(descriptor, loop)
        end.channel.awaitWritable()
        try loop.run(until: "it is decided") { end.writableCalls == 1 }
        #expect(end.channel.pendingError() == ECONNREFUSED)
    }
}
