// A Sentinel, or a server that is asked for its role, that says what a test has it say. It lives on
// the loop of what it is tested with.

import EventLoop
import Glibc
import RESP
import Session
import TestSupport
import Topology

/// All connections to one address.
final class SentinelSpeaker {
    let node: NodeAddress
    let loop: EventLoop
    /// Which primary it names.
    var claim: PrimaryClaim?
    var peers: [SentinelPeer] = []
    /// The replicas that it names as up.
    var replicas: [NodeAddress] = []
    var runID: String
    /// What ROLE says.
    var role = array(["master", "0"])
    /// What AUTH must have.
    var login: [String] = []
    /// Takes what comes, and says nothing.
    var isMute = false
    /// At most so many bytes are written at a time.
    var pace = Int.max
    /// What is said in place of an answer to a command.
    var instead: ([String]) -> [UInt8]? = { _ in nil }
    private(set) var commands: [[String]] = []
    private(set) var connections: [SpeakerConnection] = []
    private let listener: Int32
    private var watch: DescriptorWatch?
    private let tls: TLSContext?

    init(_ loop: EventLoop, tls: TLSContext? = nil, host: String = "127.0.0.1") throws {
        self.loop = loop
        self.tls = tls
        let (listener, address) = try loopbackListener()
        self.listener = listener
        node =
            try NodeAddress(host: Array(host.utf8), port: address.port)
            ?? { throw TestFailure("no address") }()
        runID = String((String(address.port) + String(repeating: "a", count: 40)).prefix(40))
        watch = DescriptorWatch(
            descriptor: listener, loop: loop, owner: Unmanaged.passUnretained(self).toOpaque(),
            callback: speakerAccepts)
    }

    deinit {
        for connection in connections { connection.close() }
        close(listener)
    }

    var peer: SentinelPeer { SentinelPeer(address: node, runID: Array(runID.utf8)) }

    var open: [SpeakerConnection] { connections.filter(\.isOpen) }

    func count(of name: String) -> Int { commands.count { $0.first == name } }

    /// Ends all connections.
    func hangUp() { for connection in connections { connection.close() } }

    /// Tells subscribers.
    func publish(_ channel: String, _ text: String) {
        for connection in open where connection.isSubscribed {
            connection.say(array(["message", channel, text]))
        }
    }

    fileprivate func accept() {
        let (descriptor, _) = SocketAddress.accept(listener)
        guard descriptor >= 0 else { return }
        connections.append(SpeakerConnection(descriptor, self, tls))
    }

    fileprivate func answer(_ words: [String], _ connection: SpeakerConnection) {
        commands.append(words)
        if isMute { return }
        if let reply = instead(words) { return connection.say(reply) }
        if words[0] == "AUTH" {
            connection.isLoggedIn = Array(words.dropFirst()) == login
            return connection.say(utf8(connection.isLoggedIn ? "+OK\r\n" : "-WRONGPASS no\r\n"))
        }
        guard login.isEmpty || connection.isLoggedIn else {
            guard words.count <= 10 else {
                let error = "-ERR Protocol error: unauthenticated multibulk length\r\n"
                return connection.say(utf8(error))
            }
            return connection.say(utf8("-NOAUTH Authentication required.\r\n"))
        }
        connection.say(reply(to: words, connection))
    }

    private func reply(to words: [String], _ connection: SpeakerConnection) -> [UInt8] {
        switch words[0] {
        case "ROLE": return role
        case "PING": return connection.isSubscribed ? array(["pong", ""]) : utf8("+PONG\r\n")
        case "SUBSCRIBE":
            connection.isSubscribed = true
            return words.dropFirst().enumerated().flatMap { index, name in
                utf8("*3\r\n") + bulk("subscribe") + bulk(name) + utf8(":\(index + 1)\r\n")
            }
        case "SENTINEL": return sentinel(words[1])
        default: return utf8("-ERR unknown command\r\n")
        }
    }

    private func sentinel(_ question: String) -> [UInt8] {
        switch question {
        case "GET-MASTER-ADDR-BY-NAME":
            guard let address = claim?.address else { return utf8("*-1\r\n") }
            return array([text(address.host), "\(address.port)"])
        case "MASTER":
            guard let claim else { return utf8("-ERR No such master with that name\r\n") }
            return array([
                "name", "mymaster", "ip", text(claim.address.host), "port",
                "\(claim.address.port)", "flags", "master", "config-epoch", "\(claim.epoch)",
            ])
        case "SENTINELS":
            return utf8("*\(peers.count)\r\n")
                + peers.flatMap {
                    array([
                        "name", "x", "ip", text($0.address.host), "port", "\($0.address.port)",
                        "runid", text($0.runID),
                    ])
                }
        case "MYID": return bulk(runID)
        case "REPLICAS":
            return utf8("*\(replicas.count)\r\n")
                + replicas.flatMap {
                    array([
                        "ip", text($0.host), "port", "\($0.port)", "flags", "slave",
                        "master-link-status", "ok",
                    ])
                }
        default: return utf8("-ERR unknown subcommand\r\n")
        }
    }
}

/// One connection to a speaker.
final class SpeakerConnection {
    private var channel = Channel()
    private unowned let speaker: SentinelSpeaker
    private var input: [UInt8] = []
    private var output: [UInt8] = []
    var isSubscribed = false
    var isLoggedIn = false

    init(_ descriptor: Int32, _ speaker: SentinelSpeaker, _ tls: TLSContext?) {
        self.speaker = speaker
        channel = Channel(
            descriptor: descriptor, loop: speaker.loop,
            owner: Unmanaged.passUnretained(self).toOpaque(), onReadable: speakerReadable,
            onWritable: speakerWritable)
        channel.startReading()
        if let tls { channel.beginTLS(tls, as: .server, on: speaker.loop) }
    }

    var isOpen: Bool { channel.isOpen }

    func close() { channel.close() }

    func say(_ bytes: [UInt8]) {
        output += bytes
        if isOpen { channel.awaitWritable() }
    }

    fileprivate func readable() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = buffer.withUnsafeMutableBytes {
            channel.receive(into: $0.baseAddress!, count: $0.count)
        }
        if count == -Int(EAGAIN) { return }
        guard count > 0 else { return close() }
        input += buffer[..<count]
        var position = 0
        while position < input.count {
            var scanner = CommandScanner()
            guard
                case .command(let frame) = scanner.scan(
                    input.span, frameStart: position, limits: CommandLimits())
            else { break }
            let words = CommandTable.words(input.span, frame).map { text($0) }
            position = frame.end
            speaker.answer(words, self)
        }
        input.removeFirst(position)
    }

    fileprivate func writable() {
        guard !output.isEmpty else { return }
        let count = output.withUnsafeBytes {
            channel.send($0.baseAddress!, count: min($0.count, speaker.pace))
        }
        if count > 0 { output.removeFirst(count) }
        if !output.isEmpty, count > 0 || count == -Int(EAGAIN) { channel.awaitWritable() }
    }
}

private func speakerAccepts(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    Unmanaged<SentinelSpeaker>.fromOpaque(owner!).takeUnretainedValue().accept()
}

private func speakerReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    Unmanaged<SpeakerConnection>.fromOpaque(owner!).takeUnretainedValue().readable()
}

private func speakerWritable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    Unmanaged<SpeakerConnection>.fromOpaque(owner!).takeUnretainedValue().writable()
}
