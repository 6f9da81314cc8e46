// The console: Redis's protocol on a unix socket, served by the main thread. It answers while
// workers hang, while the server is down, at `maxClients`, and during a drain.

package import Config
package import EventLoop
import Glibc
import Logging
import RESP

/// Accepts connections and has their commands carried out.
package final class Console {
    package let host: ConsoleHost
    let logOverride: LogOverride
    private let file: SocketFile
    private let descriptor: Int32
    private var watch: DescriptorWatch?
    private var timer: Timer?
    private var spares: SpareDescriptors
    private var connections: [ConsoleConnection] = []
    private var lastID: Int64 = 0
    /// In nanoseconds.
    private let idleLimit: Int64
    /// No descriptor was left for a connection: it waits in the kernel.
    private var isResting = false
    private var isOpen = true

    /// The most connections at once.
    package static let most = 16
    private static let tick: Int64 = 100_000_000
    package static let idleLimit: Int64 = 600_000_000_000

    /// Serves a listening socket, which it then owns. Its loop is that of `host`.
    package init(
        _ host: ConsoleHost, descriptor: Int32, file: SocketFile,
        idleLimit: Int64 = Console.idleLimit
    ) {
        self.host = host
        self.descriptor = descriptor
        self.file = file
        self.idleLimit = idleLimit
        logOverride = LogOverride(host)
        // One more than there are connections, to refuse the next one with.
        spares = SpareDescriptors(Console.most + 1)
        let me = Unmanaged.passUnretained(self).toOpaque()
        watch = DescriptorWatch(
            descriptor: descriptor, loop: host.loop, owner: me, callback: consoleReadable)
        timer = Timer(loop: host.loop, owner: me, callback: consoleTimer)
    }

    deinit { close() }

    /// The listening socket, and its file.
    package var listening: (descriptor: Int32, file: SocketFile) { (descriptor, file) }

    /// Removes the socket and closes all connections. Idempotent.
    package func close() {
        guard isOpen else { return }
        isOpen = false
        file.remove()
        watch = nil
        timer = nil
        Glibc.close(descriptor)
        for connection in connections { connection.abandon() }
        connections = []
    }

    /// Takes the configuration that a reload has put into force. What LOG has changed stays changed
    /// for its time.
    package func adopt(_ config: Config, _ source: ConfigSource, maxClients: Int) {
        host.config = config
        host.maxClients = maxClients
        host.source = source
        logOverride.apply()
    }

    // MARK: Connections

    fileprivate func accept() {
        // A descriptor for it is certain only if one is given up before.
        spares.giveUp()
        let (accepted, _) = SocketAddress.accept(descriptor)
        defer { spares.fill(used: connections.count) }
        if accepted >= 0 {
            take(accepted)
        } else if accepted != -EAGAIN, accepted != -ECONNABORTED {
            isResting = true
            watch?.pause()
            timer?.start(after: Console.tick)
        }
    }

    private func take(_ accepted: Int32) {
        guard connections.count < Console.most else {
            var refused = Channel(
                descriptor: accepted, loop: host.loop,
                owner: Unmanaged.passUnretained(self).toOpaque(), onReadable: ignoreEvent,
                onWritable: ignoreEvent)
            let text = Array("-ERR the console has \(Console.most) connections already\r\n".utf8)
            _ = text.withUnsafeBytes { bytes in
                bytes.baseAddress.map { refused.send($0, count: bytes.count) }
            }
            refused.close()
            return
        }
        lastID += 1
        connections.append(ConsoleConnection(accepted, id: lastID, console: self))
        timer?.start(after: Console.tick)
    }

    /// Answers the command of a connection that a former program has accepted.
    package func answer(_ caller: ConsoleCaller, _ text: String, isError: Bool) {
        lastID += 1
        let connection = ConsoleConnection(caller.descriptor, id: lastID, console: self)
        connection.version = caller.isRESP3 ? .resp3 : .resp2
        connections.append(connection)
        connection.awaitAnswer(caller.input)
        connection.reply(isError ? .error("ERR \(text)") : .simple(text), isJSON: false)
        timer?.start(after: Console.tick)
    }

    func closed(_ connection: ConsoleConnection) {
        connections.removeAll { $0 === connection }
        spares.fill(used: connections.count)
    }

    fileprivate func look() {
        if isResting {
            isResting = false
            spares.fill(used: connections.count)
            watch?.resume()
        }
        let limit = EventLoop.now() - idleLimit
        for connection in connections where connection.isIdle(since: limit) { connection.close() }
        if isResting || !connections.isEmpty { timer?.start(after: Console.tick) }
    }

    // MARK: Commands

    /// Carries out the command with these words, of which there is at least one.
    func carryOut(_ words: [[UInt8]], for connection: ConsoleConnection) {
        let call = { (arguments: ArraySlice<[UInt8]>, isJSON: Bool) in
            Call(connection, console: self, arguments: Array(arguments), isJSON: isJSON)
        }
        let first = Word(words[0])
        if let refusal = Access.refusal(of: first, to: connection.caller) {
            return call([], false).reply(.error(refusal))
        }
        guard let command = CommandRegistry.find(words) else {
            return call([], false).fail(CommandRegistry.unknown(words))
        }
        var rest = words[command.words.count...]
        let isJSON = rest.last.map { Word($0) == "json" } ?? false
        if isJSON { rest.removeLast() }
        guard command.arguments.contains(rest.count) else {
            return call([], false).fail("wrong number of words: \(command.form)")
        }
        if Access.isChange(first) { note(command, rest, connection.caller) }
        command.run(call(rest, isJSON))
    }

    /// Each change has one line in the log, before it is made.
    private func note(
        _ command: ConsoleCommand, _ arguments: ArraySlice<[UInt8]>, _ caller: Caller
    ) {
        let words = [command.name] + arguments.map { PlainText.of($0, longest: 40) }
        host.log.notice(
            "a command of the console",
            metadata: [
                "event": "console.command", "command": "\(words.joined(separator: " "))",
                "pid": "\(caller.process)", "uid": "\(caller.userText)",
            ])
    }
}

private func consoleReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Console>.fromOpaque(owner).takeUnretainedValue().accept()
}

private func consoleTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Console>.fromOpaque(owner).takeUnretainedValue().look()
}

private func ignoreEvent(_: Int32, _: Int16, _: UnsafeMutableRawPointer?) {}
