import EventLoop
import Glibc
import TestSupport
import Testing

@Suite("Channel: when its owner is called")
struct InterestTests {
    @Test("reading lasts until it is stopped, and is called while something is unread")
    func reading() throws {
        let pair = try Connection(.unix)
        pair.far.send([1])
        pair.turn()
        #expect(pair.near.readableCalls == 0)
        pair.near.channel.startReading()
        pair.near.channel.startReading()
        #expect(pair.near.isReading)
        pair.turn(3)
        #expect(pair.near.readableCalls == 3)
        _ = pair.near.readAll()
        pair.turn()
        #expect(pair.near.readableCalls == 3)
        pair.far.send([2])
        pair.near.channel.stopReading()
        pair.near.channel.stopReading()
        #expect(!pair.near.isReading)
        pair.turn()
        #expect(pair.near.readableCalls == 3)
        pair.near.channel.startReading()
        pair.turn()
        #expect(pair.near.readableCalls == 4)
    }

    @Test(
        "a paused reader is told of each change once, and of the end", arguments: Transport.allCases
    )
    func paused(_ transport: Transport) throws {
        let pair = try Connection(transport)
        pair.near.channel.startReading()
        pair.near.channel.pauseReading()
        #expect(!pair.near.isReading)
        pair.turn()
        let before = pair.near.readableCalls
        pair.far.send([1])
        try pair.loop.run(until: "bytes are told of") { pair.near.readableCalls > before }
        var told = pair.near.readableCalls
        pair.turn(3)
        #expect(pair.near.readableCalls == told)
        #expect(pair.near.peer == .there)
        pair.far.channel.finishWriting()
        try pair.loop.run(until: "the end is told of") { pair.near.readableCalls > told }
        #expect(pair.near.peer == .ended)
        told = pair.near.readableCalls
        pair.turn(3)
        #expect(pair.near.readableCalls == told)
        pair.near.channel.startReading()
        pair.turn(2)
        #expect(pair.near.readableCalls == told + 2)
        #expect(pair.near.readAll() == Input([1], 0))
    }

    @Test("a paused reader is told of a broken connection", arguments: Transport.allCases)
    func pausedAndBroken(_ transport: Transport) throws {
        let pair = try Connection(transport)
        pair.near.send([1])
        try eventually("input") { pair.far.hasInput }
        pair.near.channel.pauseReading()
        pair.turn()
        let before = pair.near.readableCalls
        pair.far.channel.close()
        try pair.loop.run(until: "it is told of") { pair.near.readableCalls > before }
        #expect(pair.near.peer == .broken)
    }

    @Test("a stopped reader is told of nothing")
    func stopped() throws {
        let pair = try Connection(.unix)
        pair.near.channel.pauseReading()
        pair.near.channel.stopReading()
        pair.far.channel.close()
        pair.turn(2)
        #expect(pair.near.readableCalls == 0)
    }

    @Test("awaitWritable is one call, once the peer has made room", arguments: Transport.allCases)
    func writable(_ transport: Transport) throws {
        let pair = try Connection(transport)
        let sent = pair.near.fill()
        pair.near.channel.awaitWritable()
        pair.near.channel.awaitWritable()
        pair.turn(2)
        #expect(pair.near.writableCalls == 0)
        var received = 0
        try eventually("all bytes") {
            received += pair.far.readAll().bytes.count
            return received == sent
        }
        try pair.loop.run(until: "room") { pair.near.writableCalls > 0 }
        pair.turn(3)
        #expect(pair.near.writableCalls == 1)
        pair.near.channel.awaitWritable()
        pair.turn(3)
        #expect(pair.near.writableCalls == 2)
    }

    @Test("a forgotten wish to write is not fulfilled, and can be had again")
    func forgotten() throws {
        let pair = try Connection(.unix)
        func isAwaiting() -> Bool { pair.near.channel.isAwaitingWritable }
        #expect(!isAwaiting())
        pair.near.channel.awaitWritable()
        #expect(isAwaiting())
        pair.near.channel.forgetWritable()
        pair.near.channel.forgetWritable()
        #expect(!isAwaiting())
        pair.turn(2)
        #expect(pair.near.writableCalls == 0)
        pair.near.channel.awaitWritable()
        #expect(isAwaiting())
        pair.turn(2)
        #expect(pair.near.writableCalls == 1)
        #expect(!isAwaiting())
    }

    /// What a reader can do between two turns.
    enum Step: CaseIterable {
        case start, pause, stop, await, forget
    }

    @Test(
        "random changes of interest: both registrations do what the last change of each says",
        arguments: 1...20)
    func randomChanges(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let pair = try Connection(.unix)
        pair.far.send([1])
        var isReading = false
        var awaits = false
        for _ in 0..<200 {
            for _ in 0...random.below(4) {
                switch Step.allCases[random.below(Step.allCases.count)] {
                case .start:
                    pair.near.channel.startReading()
                    isReading = true
                case .pause:
                    pair.near.channel.pauseReading()
                    isReading = false
                case .stop:
                    pair.near.channel.stopReading()
                    isReading = false
                case .await:
                    pair.near.channel.awaitWritable()
                    awaits = true
                case .forget:
                    pair.near.channel.forgetWritable()
                    awaits = false
                }
            }
            let (reads, writes) = (pair.near.readableCalls, pair.near.writableCalls)
            pair.turn()
            try #require(pair.near.isReading == isReading)
            // A paused one may be told as well, if something has changed.
            if isReading { try #require(pair.near.readableCalls == reads + 1) }
            try #require(pair.near.writableCalls == writes + (awaits ? 1 : 0))
            awaits = false
        }
    }

    @Test("an owner that closes in its own call is not called again")
    func closesItself() throws {
        let pair = try Connection(.unix)
        pair.near.onReadable = { $0.channel.close() }
        pair.near.channel.startReading()
        pair.near.channel.awaitWritable()
        pair.far.send([1])
        pair.turn(3)
        #expect(pair.near.readableCalls == 1)
        #expect(pair.near.writableCalls <= 1)
        #expect(pair.far.peer == .broken)
    }

    @Test("an owner that closes another in the same turn: the other is not called")
    func closesAnother() throws {
        let loop = try #require(EventLoop())
        let pairs = try (0..<8).map { _ in try connectedPair(.unix) }
        let ends = pairs.map { End($0.0, loop) }
        for end in ends {
            end.onReadable = { me in for other in ends where other !== me { other.channel.close() }
            }
            end.channel.startReading()
        }
        let others = pairs.map { End($0.1, loop) }
        for other in others { other.send([1]) }
        for _ in 0..<3 { #expect(loop.runOnce(waiting: false)) }
        #expect(ends.count { $0.readableCalls > 0 } == 1)
        #expect(ends.count { $0.isOpen } == 1)
    }
}
