// One connection to the console: it reads a command, has it carried out, and writes the reply
// before it reads on.

import EventLoop
import Glibc
import RESP

/// A connection to the console.
final class ConsoleConnection {
    /// `reading` -> `busy` with each command, and back when its reply is written; `closed` from
    /// anywhere.
    private enum Stage {
        case reading
        /// A command is being carried out, or its reply written.
        case busy
        case closed
    }

    private unowned let console: Console
    let id: Int64
    let caller: Caller
    var version = ProtocolVersion.resp2
    var name: [UInt8] = []
    private var channel = Channel()
    private var stage = Stage.reading
    private var input: [UInt8] = []
    private var output: [UInt8] = []
    private var sent = 0
    private var renderer: TableRenderer?
    private var timer: Timer?
    /// Nothing more is read: the reply that is being written is the last one.
    private var isLast = false
    private var inputEnded = false
    private var lastActivity = EventLoop.now()

    /// The main thread renders for at most this long at a time, in nanoseconds.
    private static let slice: Int64 = 5_000_000
    /// The most characters of an error, which can have all problems of a file in it.
    private static let longestError = 16_384
    /// The same of a line that is not in a table.
    private static let longestLine = 1000
    /// Longer input is not a command of the console.
    private static let inputLimit = 64 << 10
    private static let limits: CommandLimits = {
        var limits = CommandLimits()
        limits.maxArguments = 64
        limits.maxBulkLength = 4096
        limits.maxInlineLength = 4096
        return limits
    }()

    init(_ descriptor: Int32, id: Int64, console: Console) {
        self.console = console
        self.id = id
        caller = Caller(of: descriptor)
        let me = Unmanaged.passUnretained(self).toOpaque()
        channel = Channel(
            descriptor: descriptor, loop: console.host.loop, owner: me,
            onReadable: connectionReadable, onWritable: connectionWritable)
        timer = Timer(loop: console.host.loop, owner: me, callback: connectionTimer)
        channel.startReading()
    }

    /// As another program sees it, which may answer the command that is being carried out.
    var asCaller: ConsoleCaller {
        ConsoleCaller(
            descriptor: channel.descriptor, isRESP3: version == .resp3, input: input)
    }

    /// A former program has read a command here, and `rest` behind it.
    func awaitAnswer(_ rest: [UInt8]) {
        channel.stopReading()
        stage = .busy
        input = rest
    }

    /// Nothing has come from the caller since then, and it waits for no command: a PAUSE may take
    /// long.
    func isIdle(since time: Int64) -> Bool {
        let waits = stage == .busy && output.isEmpty
        return lastActivity < time && !waits
    }

    func close() {
        guard channel.isOpen else { return }
        abandon()
        console.closed(self)
    }

    /// Closes without a word to the console.
    func abandon() {
        stage = .closed
        renderer = nil
        timer = nil
        channel.close()
    }

    // MARK: Reading

    fileprivate func readable() {
        var room = [UInt8](repeating: 0, count: 16 << 10)
        let count = room.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { channel.receive(into: $0, count: bytes.count) } ?? 0
        }
        if count == -Int(EAGAIN) { return }
        guard count >= 0 else { return close() }
        lastActivity = EventLoop.now()
        if count == 0 {
            inputEnded = true
            channel.stopReading()
        }
        input += room[..<max(0, count)]
        handleInput()
    }

    private func handleInput() {
        while stage == .reading {
            guard let words = nextCommand() else { break }
            if words.isEmpty { continue }
            stage = .busy
            channel.stopReading()
            console.carryOut(words, for: self)
        }
        guard stage == .reading else { return }
        if inputEnded { return close() }
        channel.startReading()
    }

    /// The words of the next command, which is taken from the input; none for an empty line. Nil if
    /// it has not come whole.
    private func nextCommand() -> [[UInt8]]? {
        let bytes = input
        var scanner = CommandScanner()
        switch scanner.scan(bytes.span, frameStart: 0, limits: ConsoleConnection.limits) {
        case .command(let frame):
            var words: [[UInt8]] = []
            var arguments = CommandArguments(bytes.span, frame: frame)
            while let (start, length) = arguments.next(bytes.span) {
                words.append(Array(bytes[start..<(start + length)]))
            }
            input.removeFirst(frame.end)
            return words
        case .inline(let start, let end, let next):
            let line = Array(input[start..<end])
            let words = InlineParser.split(line.span)
            input.removeFirst(next)
            if let words { return words }
            failProtocol(.unbalancedQuotes)
            return nil
        case .skip(let next):
            input.removeFirst(next)
            return []
        case .incomplete:
            if input.count > ConsoleConnection.inputLimit { failProtocol(.tooBigInlineRequest) }
            return nil
        case .invalid(let error):
            failProtocol(error)
            return nil
        }
    }

    private func failProtocol(_ error: ProtocolError) {
        input = []
        stage = .busy
        isLast = true
        channel.stopReading()
        Encode.error(error, into: &output)
        flush()
    }

    // MARK: Writing

    /// The reply to the command that is being carried out.
    func reply(_ reply: Reply, isJSON: Bool) {
        guard stage == .busy else { return }
        switch reply {
        case .simple(let text): Encode.simpleString(text, into: &output)
        case .error(let text): write(error: text)
        case .integer(let number): Encode.integer(number, into: &output)
        case .text(let text): Encode.verbatim(Array(text.utf8), version, into: &output)
        case .lines(let lines): write(lines)
        case .bytes(let bytes): output += bytes
        case .table(let table):
            renderer = TableRenderer(table, as: isJSON ? .json : .lines(version))
            render()
            return
        }
        flush()
    }

    private func write(error: String) {
        let plain = PlainText.of(error, longest: ConsoleConnection.longestError)
        Encode.error(plain, into: &output)
    }

    private func write(_ lines: [String]) {
        let plain = lines.map { PlainText.of($0, longest: ConsoleConnection.longestLine) }
        if version == .resp3 {
            Encode.verbatim(Array(plain.joined(separator: "\n").utf8), version, into: &output)
            return
        }
        Encode.arrayHeader(plain.count, into: &output)
        for line in plain { Encode.simpleString(line, into: &output) }
    }

    /// The reply to the present command is the last one.
    func closeAfterReply() { isLast = true }

    fileprivate func render() {
        guard stage == .busy, renderer != nil else { return }
        let end = EventLoop.now() + ConsoleConnection.slice
        if let bytes = renderer?.work(until: { EventLoop.now() >= end }) {
            renderer = nil
            output += bytes
            flush()
        } else {
            // The rest comes when everything else that is ready has had its turn.
            timer?.start(after: 0)
        }
    }

    fileprivate func flush() {
        while sent < output.count {
            let count = output.withUnsafeBytes { bytes in
                bytes.baseAddress.map { channel.send($0 + sent, count: bytes.count - sent) } ?? 0
            }
            if count == -Int(EAGAIN) {
                channel.awaitWritable()
                return
            }
            guard count > 0 else { return close() }
            sent += count
            lastActivity = EventLoop.now()
        }
        let wasLarge = output.count >= 1 << 20
        output = []
        sent = 0
        if wasLarge { System.trimHeap() }
        replied()
    }

    private func replied() {
        guard stage == .busy, renderer == nil else { return }
        if isLast { return close() }
        stage = .reading
        // What has come behind the command is handled in the next turn: replies can be long.
        timer?.start(after: 0)
    }

    fileprivate func goOn() {
        if renderer != nil { render() } else { handleInput() }
    }
}

private func connectionReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ConsoleConnection>.fromOpaque(owner).takeUnretainedValue().readable()
}

private func connectionWritable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ConsoleConnection>.fromOpaque(owner).takeUnretainedValue().flush()
}

private func connectionTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ConsoleConnection>.fromOpaque(owner).takeUnretainedValue().goOn()
}
