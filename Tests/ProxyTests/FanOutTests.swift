import EventLoop
import Session
import TestSupport
import Testing

@testable import Proxy

/// A worker with listeners, and a hub in the test's hand.
private final class Listeners {
    let world: World
    private(set) var near: [TestClient] = []
    private(set) var far: [ClientConnection] = []

    /// Of every three listeners, two speak RESP3.
    init(_ count: Int, _ lines: String...) throws {
        world = try World(head: "", place: nil, lines: lines)
        world.clientsRead = false
        for index in 0..<count {
            near.append(try world.connect())
            let client = try #require(world.worker.clients.all.last)
            client.session.logIn(as: nil, protocolVersion: index % 3 == 0 ? 2 : 3, name: nil)
            client.beginListening()
            far.append(client)
        }
        world.settle()
    }

    /// Has all of `takers` receive a message.
    func publish(_ text: String, to takers: Range<Int>? = nil) {
        publish(utf8(">3\r\n") + bulk("message") + bulk("c") + bulk(text), to: takers)
    }

    func publish(_ frame: [UInt8], to takers: Range<Int>? = nil) {
        frame.withUnsafeBytes { bytes in
            var message = world.worker.beginMessage(bytes)
            for taker in far[takers ?? 0..<far.count] { taker.receive(&message) }
            world.worker.endMessage(message)
        }
    }

    /// What a listener is to get for a message.
    func frame(_ text: String, _ index: Int) -> String {
        "\(index % 3 == 0 ? "*" : ">")3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$\(text.utf8.count)\r\n\(text)\r\n"
    }

    /// Bytes from an upstream.
    func relay(_ text: String, to index: Int) {
        let bytes = utf8(text)
        bytes.withUnsafeBytes { far[index].receive($0.baseAddress!, count: $0.count) }
    }

    func read() { for client in near { client.read() } }

    var worker: Worker { world.worker }
    var backlog: Int { worker.fanOut.backlog }
    var hasWork: Bool { worker.fanOut.hasWork }
    var isAllWritten: Bool { far.allSatisfy { $0.output.isEmpty } }

    func isOpen(_ index: Int) -> Bool { far[index].channel.isOpen }

    /// Nothing waits, and no block is left.
    func checkNothingLeft() {
        worker.clock.isRead = false
        worker.updateNow()
        worker.fanOut.trim(worker.chunks)
        #expect(backlog == 0)
        #expect(hasWork == false)
        #expect(worker.isIdle)
        #expect((worker.chunks.bytesInUse, worker.chunks.outputBytes) == (0, 0))
    }
}

@Suite("FanOut")
struct FanOutTests {
    @Test("each listener gets each message once, in order, in its own form")
    func delivered() throws {
        let listeners = try Listeners(7)
        for number in 0..<40 {
            listeners.publish("m\(number)")
            if number % 5 == 0 { listeners.publish("some", to: 2..<5) }
            if number % 7 == 0 { listeners.world.turn() }
        }
        listeners.world.settle()
        listeners.read()
        for index in 0..<7 {
            var all = ""
            for number in 0..<40 {
                all += listeners.frame("m\(number)", index)
                if number % 5 == 0, (2..<5).contains(index) {
                    all += listeners.frame("some", index)
                }
            }
            #expect(listeners.near[index].take() == all)
        }
        listeners.checkNothingLeft()
    }

    @Test("a message that nobody wants costs nothing; one is copied once for each form")
    func copies() throws {
        let listeners = try Listeners(6)
        let chunks = listeners.worker.chunks
        listeners.publish("nobody", to: 0..<0)
        #expect(chunks.bytesInUse == 0)
        let node = MemoryLayout<BlockReference>.stride
        listeners.publish(String(repeating: "x", count: 20_000), to: 1..<3)
        #expect(chunks.outputBytes == 32_768 + 2 * node)
        listeners.publish("y")
        #expect(chunks.outputBytes == 2 * 32_768 + 6 * node)
        listeners.publish(String(repeating: "z", count: 100_000), to: 0..<6)
        #expect((264_000..<268_000).contains(chunks.outputBytes))
        try listeners.world.run(until: "everything is written") {
            listeners.read()
            return listeners.isAllWritten
        }
        listeners.checkNothingLeft()
    }

    @Test("an iteration writes to some listeners, and the loop goes on without waiting")
    func turns() throws {
        let count = 600
        let listeners = try Listeners(count)
        let worker = listeners.worker
        listeners.publish("a")
        #expect(listeners.backlog == count)
        worker.epilogue()
        let first = count - listeners.backlog
        #expect((1...FanOut.mostWrites).contains(first))
        #expect(listeners.hasWork)
        #expect(!worker.isIdle)
        // Those who wait get both in one piece, the others get the second behind them.
        listeners.publish("b")
        #expect(listeners.backlog == count)
        var iterations = 1
        while listeners.hasWork {
            let before = listeners.backlog
            worker.epilogue()
            #expect(before - listeners.backlog <= FanOut.mostWrites)
            iterations += 1
        }
        #expect(iterations >= 3)
        listeners.read()
        for index in 0..<count {
            let wanted = listeners.frame("a", index) + listeners.frame("b", index)
            #expect(listeners.near[index].take() == wanted)
        }
        listeners.checkNothingLeft()
    }

    @Test("the running worker finishes what an iteration has left")
    func running() throws {
        let listeners = try Listeners(600)
        let wanted = listeners.frame("a", 599)
        listeners.publish("a")
        try listeners.world.reallyRun(until: "the last has it") {
            listeners.near[599].text == wanted
        }
        #expect(listeners.near.allSatisfy { !$0.received.isEmpty })
    }

    @Test("a reply and a message go out in one write")
    func together() throws {
        let listeners = try Listeners(2)
        let worker = listeners.worker
        listeners.relay("+a\r\n", to: 0)
        listeners.publish("m")
        // The first is written as any client that has a reply.
        #expect(listeners.backlog == 1)
        listeners.relay("+b\r\n", to: 1)
        listeners.relay("+c\r\n", to: 0)
        worker.epilogue()
        #expect(!listeners.hasWork)
        listeners.read()
        #expect(listeners.near[0].take() == "+a\r\n" + listeners.frame("m", 0) + "+c\r\n")
        #expect(listeners.near[1].take() == listeners.frame("m", 1) + "+b\r\n")
        listeners.checkNothingLeft()
    }

    @Test("listeners that leave while they wait for their write; others take their slots")
    func left() throws {
        let listeners = try Listeners(10)
        let worker = listeners.worker
        listeners.publish("a")
        for index in [0, 3, 9] { listeners.far[index].close(.client_closed) }
        let newcomer = try listeners.world.connect()
        listeners.publish("b")
        for _ in 0..<3 { worker.epilogue() }
        listeners.read()
        newcomer.read()
        #expect(newcomer.received.isEmpty)
        for index in 0..<10 {
            let isGone = [0, 3, 9].contains(index)
            let wanted = listeners.frame("a", index) + listeners.frame("b", index)
            #expect(listeners.near[index].take() == (isGone ? "" : wanted))
            #expect(listeners.near[index].isClosed == isGone)
        }
        listeners.checkNothingLeft()
    }
}

@Suite("Messages to one client")
struct MessageTests {
    @Test(
        "no message comes inside a frame",
        arguments: [
            "+OK\r\n", "$5\r\nhello\r\n", "*2\r\n$1\r\na\r\n:1\r\n", "_\r\n", "$-1\r\n",
            "%1\r\n+k\r\n*2\r\n#t\r\n,1.5\r\n", "|1\r\n+a\r\n+b\r\n:5\r\n", ">2\r\n+x\r\n*0\r\n",
            "=8\r\ntxt:some\r\n", "-ERR no\r\n",
        ])
    func inside(frame: String) throws {
        let listeners = try Listeners(2)
        let bytes = frame.utf8.map { String(UnicodeScalar($0)) }
        for cut in 0...bytes.count {
            listeners.relay(bytes[..<cut].joined(), to: 1)
            listeners.publish("m\(cut)", to: 1..<2)
            listeners.publish("n", to: 1..<2)
            listeners.worker.epilogue()
            // The rest comes in one piece with the next reply, of which a part comes.
            listeners.relay(bytes[cut...].joined() + "*1\r\n", to: 1)
            listeners.publish("o", to: 1..<2)
            listeners.relay(":7\r\n", to: 1)
            for _ in 0..<3 { listeners.worker.epilogue() }
            listeners.read()
            let messages = listeners.frame("m\(cut)", 1) + listeners.frame("n", 1)
            let isBefore = cut == 0
            #expect(
                listeners.near[1].take() == (isBefore ? messages : "") + frame
                    + (isBefore ? "" : messages) + "*1\r\n:7\r\n" + listeners.frame("o", 1))
        }
        #expect(listeners.far[1].parkedBytes == 0)
        listeners.checkNothingLeft()
    }

    @Test("random: frames stay whole, and the order of messages is kept", arguments: 1...10)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed &* 0x9E37_79B9_7F4A_7C15)
        let listeners = try Listeners(3)
        var replies: [[UInt8]] = [[], [], []]
        var open: [[UInt8]] = [[], [], []]
        var frames = 0
        var published = 0
        for _ in 0..<400 {
            let index = random.below(3)
            switch random.below(4) {
            case 0:
                published += 1
                listeners.publish("message \(published)")
            case 1:
                frames += 1
                let size = random.chance(10) ? 40_000 : random.below(50)
                open[index] += array(["r\(frames)", String(repeating: "v", count: size)])
            case 2:
                let piece = Array(
                    open[index].prefix(1 + random.below(random.chance(20) ? 60_000 : 30)))
                open[index].removeFirst(piece.count)
                replies[index] += piece
                if !piece.isEmpty { listeners.relay(text(piece), to: index) }
            default:
                listeners.world.turn()
                listeners.near[index].read(random.below(100_000))
            }
        }
        for index in 0..<3 where !open[index].isEmpty {
            listeners.relay(text(open[index]), to: index)
            replies[index] += open[index]
        }
        try listeners.world.run(until: "everything is written") {
            listeners.read()
            return listeners.isAllWritten
        }
        listeners.world.settle()
        listeners.read()
        for index in 0..<3 {
            let (others, numbers) = split(listeners.near[index].received)
            #expect(isSame(others, replies[index]))
            #expect(numbers == Array(1...max(published, 1)))
        }
        listeners.checkNothingLeft()
    }

    /// What came besides messages, and the numbers of the messages, in order.
    private func split(_ bytes: [UInt8]) -> (others: [UInt8], numbers: [Int]) {
        var (others, numbers): ([UInt8], [Int]) = ([], [])
        var position = 0
        func line() -> [UInt8] {
            let end = bytes[position...].firstIndex(of: 13) ?? bytes.count
            defer { position = end + 2 }
            return Array(bytes[position..<end])
        }
        while position < bytes.count {
            let start = position
            let count = Int(text(line().dropFirst())) ?? 0
            var parts: [[UInt8]] = []
            for _ in 0..<count {
                let length = Int(text(line().dropFirst())) ?? 0
                parts.append(Array(bytes[position..<min(position + length, bytes.count)]))
                position += length + 2
            }
            if count == 3, text(parts[0]) == "message" {
                numbers.append(Int(text(parts[2].dropFirst(8))) ?? 0)
            } else {
                others += bytes[start..<position]
            }
        }
        return (others, numbers)
    }

    @Test("a listener that does not read is closed at its limit, alone, in that turn")
    func stalled() throws {
        let listeners = try Listeners(4, "clientOutputLimit: 2mb")
        let worker = listeners.worker
        let text = String(repeating: "x", count: 100_000)
        var messages = 0
        while listeners.isOpen(1), messages < 200 {
            listeners.publish(text)
            messages += 1
            // It is not closed in the loop over listeners.
            #expect(listeners.isOpen(1))
            worker.clock.isRead = false
            worker.epilogue()
            for index in [0, 2, 3] {
                try eventually("the others have read") {
                    listeners.near[index].read()
                    listeners.world.turn()
                    return listeners.far[index].output.isEmpty
                }
            }
        }
        #expect((22..<40).contains(messages))
        for index in 0..<4 { #expect(listeners.isOpen(index) == (index != 1)) }
        for index in [0, 2, 3] {
            listeners.near[index].read()
            let wanted = listeners.frame(text, index).utf8.count * messages
            #expect(listeners.near[index].received.count == wanted)
        }
        listeners.checkNothingLeft()
    }

    @Test("parked messages count: a listener whose frame never ends is closed as well")
    func parkedCount() throws {
        let listeners = try Listeners(2, "clientOutputLimit: 2mb")
        listeners.relay("$10\r\nbegun", to: 1)
        let text = String(repeating: "x", count: 100_000)
        for _ in 0..<20 { listeners.publish(text, to: 1..<2) }
        listeners.worker.epilogue()
        #expect(listeners.isOpen(1))
        #expect((2_000_000..<2_097_152).contains(listeners.far[1].parkedBytes))
        #expect(listeners.far[1].bytesHeld == listeners.far[1].parkedBytes)
        listeners.publish(text, to: 1..<2)
        listeners.worker.epilogue()
        #expect(!listeners.isOpen(1))
        listeners.checkNothingLeft()
    }

    @Test("one that closes while messages are parked leaves no block")
    func closedInside() throws {
        let listeners = try Listeners(4)
        for index in 1..<4 { listeners.relay("$10\r\nbegun", to: index) }
        listeners.publish("m")
        listeners.far[1].close(.client_closed)
        listeners.far[2].closeAfterFlush(.upstream_lost)
        listeners.publish("n")
        listeners.worker.epilogue()
        listeners.relay("12345\r\n", to: 3)
        listeners.worker.epilogue()
        listeners.read()
        #expect(listeners.near[2].take() == "$10\r\nbegun")
        #expect(listeners.near[2].isClosed)
        #expect(
            listeners.near[3].take() == "$10\r\nbegun12345\r\n" + listeners.frame("m", 3)
                + listeners.frame("n", 3))
        listeners.checkNothingLeft()
    }

    @Test("a message for one client alone keeps its place among the others")
    func alone() throws {
        let listeners = try Listeners(3)
        func confirm(_ index: Int) {
            utf8(">3\r\n+own\r\n_\r\n:1\r\n").withUnsafeBytes {
                listeners.far[index].receive(alone: $0)
            }
        }
        listeners.relay("$4\r\nab", to: 2)
        for index in 1..<3 {
            confirm(index)
            listeners.publish("m", to: index..<index + 1)
            confirm(index)
        }
        listeners.relay("cd\r\n", to: 2)
        listeners.worker.epilogue()
        listeners.read()
        let own = ">3\r\n+own\r\n_\r\n:1\r\n"
        #expect(listeners.near[1].take() == own + listeners.frame("m", 1) + own)
        #expect(listeners.near[2].take() == "$4\r\nabcd\r\n" + own + listeners.frame("m", 2) + own)
        listeners.checkNothingLeft()
    }

    @Test("bytes that are no frames end the listener")
    func nonsense() throws {
        let listeners = try Listeners(2)
        listeners.relay("+OK\r\nnonsense", to: 1)
        #expect(listeners.isOpen(1))
        listeners.worker.epilogue()
        #expect(!listeners.isOpen(1))
        listeners.checkNothingLeft()
    }

    @Test("who listens no more is not followed, once its frame has ended")
    func ended() throws {
        let listeners = try Listeners(2)
        listeners.relay("$4\r\nab", to: 1)
        listeners.publish("m", to: 1..<2)
        listeners.far[1].endListening()
        listeners.relay("cd\r\n", to: 1)
        #expect(listeners.far[1].listening.isEmpty)
        listeners.relay("anything", to: 1)
        for _ in 0..<2 { listeners.worker.epilogue() }
        listeners.read()
        #expect(listeners.near[1].take() == "$4\r\nabcd\r\n" + listeners.frame("m", 1) + "anything")
        listeners.checkNothingLeft()
    }
}
