// A connection outside all pools: to a Sentinel, or to a server that is asked one question.

import Config
import EventLoop
import Glibc
import RESP
import Topology

/// How a `Watcher` introduces itself.
struct WatcherLogin: Equatable {
    /// Empty for the default user.
    let username: String
    /// Nil: no AUTH.
    let password: Secret?
    let tls: UpstreamTLS?
}

/// Who has a `Watcher`. Calls come from the loop or from `begin`.
protocol WatcherOwner: AnyObject {
    /// The connection is made, verified and logged in.
    func ready(_ watcher: Watcher)
    /// A reply, or a message of a subscription. Only the bytes of one whole reply are in it.
    func received(_ reply: [UInt8], from watcher: Watcher)
    /// It is closed, and nothing more comes.
    func failed(_ watcher: Watcher, _ text: String)
}

/// Looks up, connects, verifies the peer and logs in, in RESP2. What comes then is cut into replies
/// and handed to the owner, who knows what it has asked. All deadlines are the owner's.
final class Watcher {
    /// How far it is.
    enum Stage {
        case new, looking, connecting, securing, loggingIn, ready, closed
    }

    /// What is dialled.
    let address: NodeAddress
    private(set) var stage = Stage.new
    private let loop: EventLoop
    private let names: NameLookup
    private let login: WatcherLogin
    /// The name or address that the peer's certificate must have, if the settings name none.
    private let host: String
    private weak var owner: (any WatcherOwner)?
    private var channel = Channel()
    /// Addresses that have not been tried.
    private var candidates: [SocketAddress] = []
    private var problem = ""
    private var output: [UInt8] = []
    private var sent = 0
    /// The beginning of a reply that has not come as a whole.
    private var input: [UInt8] = []
    private var scanned = 0
    private var scanner = ReplyScanner()
    private let longestReply: Int

    /// More than a Sentinel's longest answer, a list of 100 others with their states.
    static let longestReply = 256 << 10
    private static let readSize = 16 << 10
    private static let keepaliveSeconds: Int32 = 15
    private static let userTimeoutMilliseconds: Int32 = 10_000

    /// - Parameters:
    ///   - host: what the certificate must have; nil for the host of `address`.
    ///   - longestReply: bounds what is kept of a reply.
    init(
        _ address: NodeAddress, host: String? = nil, login: WatcherLogin, loop: EventLoop,
        names: NameLookup, longestReply: Int = Watcher.longestReply, owner: any WatcherOwner
    ) {
        self.address = address
        self.host = host ?? address.hostText
        self.login = login
        self.loop = loop
        self.names = names
        self.longestReply = longestReply
        self.owner = owner
    }

    /// Begins to connect.
    func begin() {
        guard stage == .new else { return }
        stage = .looking
        // What `*` means is no address of a peer.
        guard let target = UpstreamAddress(address) else {
            return fail("\(address) is no address")
        }
        if let numeric = SocketAddress(numericHost: target.host, port: address.port) {
            candidates = [numeric]
            return connectNext()
        }
        names.ask(NameLookup.Question(host: target.host, port: address.port)) { [weak self] in
            self?.found($0)
        }
    }

    /// Sends commands in one piece.
    func send(_ commands: [[[UInt8]]]) {
        guard stage == .ready else { return }
        write(commands)
    }

    /// Closes without a word to the owner.
    func close() {
        stage = .closed
        channel.close()
        output = []
        input = []
    }

    /// For messages: what has not come in time.
    var lateText: String {
        switch stage {
        case .new, .looking: "the name's look-up timed out"
        case .connecting: "connect timed out"
        case .securing: "no answer to the TLS handshake: does \(address) speak TLS?"
        case .loggingIn: "no answer to AUTH"
        case .ready, .closed: "no answer in time"
        }
    }

    private func fail(_ text: String) {
        guard stage != .closed else { return }
        close()
        owner?.failed(self, text)
    }

    // MARK: Connecting

    private func found(_ answer: NameAnswer) {
        guard stage == .looking else { return }
        guard !answer.addresses.isEmpty else {
            return fail("cannot look up \(address.hostText): \(answer.problem)")
        }
        candidates = Array(answer.addresses.prefix(SentinelSource.most))
        connectNext()
    }

    private func connectNext() {
        stage = .connecting
        while !candidates.isEmpty {
            let descriptor = candidates.removeFirst().connect(
                keepaliveSeconds: Watcher.keepaliveSeconds,
                userTimeoutMilliseconds: Watcher.userTimeoutMilliseconds)
            if descriptor < 0 {
                problem = System.errorText(-descriptor)
                continue
            }
            channel = Channel(
                descriptor: descriptor, loop: loop,
                owner: Unmanaged.passUnretained(self).toOpaque(), onReadable: watcherReadable,
                onWritable: watcherWritable)
            channel.awaitWritable()
            return
        }
        fail("cannot connect: \(problem)")
    }

    private func connected() {
        let error = channel.pendingError()
        guard error == 0 else {
            problem = System.errorText(error)
            channel.close()
            return connectNext()
        }
        channel.startReading()
        guard let tls = login.tls else { return logIn() }
        stage = .securing
        do throws(TLSSettingsProblem) {
            channel.beginTLS(
                try tls.context(), as: .client(name: tls.name(of: host), session: nil), on: loop)
            lookAtTLS()
        } catch {
            fail("TLS: \(error.message)")
        }
    }

    private func lookAtTLS() {
        switch channel.tlsState {
        case .handshaking: break
        case .open: logIn()
        case .failed(let problem): fail(words(for: problem))
        case .none: fail("TLS: the connection is plain")
        }
    }

    private func words(for problem: TLSProblem) -> String {
        problem.words(name: login.tls?.name(of: host) ?? "", place: "\(address)")
    }

    private func logIn() {
        guard let password = login.password else { return becomeReady() }
        stage = .loggingIn
        let user = login.username.isEmpty ? [] : [Array(login.username.utf8)]
        write([[Array("AUTH".utf8)] + user + [password.bytes]])
    }

    private func becomeReady() {
        stage = .ready
        owner?.ready(self)
    }

    // MARK: Bytes

    private func write(_ commands: [[[UInt8]]]) {
        for command in commands { Encode.command(command, into: &output) }
        flush()
    }

    private func flush() {
        while sent < output.count {
            let count = output.withUnsafeBytes { bytes in
                bytes.baseAddress.map { channel.send($0 + sent, count: bytes.count - sent) } ?? 0
            }
            if count > 0 {
                sent += count
            } else if count == -Int(EAGAIN) {
                return channel.awaitWritable()
            } else {
                return ended(error: Int32(truncatingIfNeeded: -count))
            }
        }
        Secret.wipe(&output)
        output = []
        sent = 0
    }

    fileprivate func writable() {
        switch stage {
        case .connecting: connected()
        case .securing, .loggingIn, .ready:
            // If it fails, the next read says why.
            if channel.drain() == -Int(EAGAIN) { channel.awaitWritable() }
            if stage != .securing { flush() }
        case .new, .looking, .closed: break
        }
    }

    fileprivate func readable() {
        withUnsafeTemporaryAllocation(byteCount: Watcher.readSize, alignment: 16) { room in
            guard let base = room.baseAddress else { return }
            let count = channel.receive(into: base, count: room.count)
            if count > 0 {
                take(UnsafeRawBufferPointer(rebasing: room[..<count]))
            } else if count == -Int(EAGAIN) {
                if stage == .securing { lookAtTLS() }
            } else {
                ended(error: Int32(truncatingIfNeeded: -count))
            }
        }
    }

    private func ended(error: Int32) {
        if stage == .connecting, error != 0 {
            problem = System.errorText(error)
            channel.close()
            return connectNext()
        }
        if case .failed(let problem) = channel.tlsState { return fail(words(for: problem)) }
        let text = error == 0 ? "it has closed the connection" : System.errorText(error)
        if stage == .securing { return fail("\(text) in the TLS handshake") }
        // A peer may refuse a client certificate after the handshake.
        guard channel.lacksCertificate, scanned == 0, input.isEmpty else { return fail(text) }
        fail(words(for: TLSProblem(kind: .seemsToWantCertificate, text: text)))
    }

    private func take(_ bytes: UnsafeRawBufferPointer) {
        input.append(contentsOf: bytes)
        var start = 0
        while stage != .closed {
            let bytes = input
            let scan = scanner.scan(bytes.span, from: scanned)
            if case .complete(let end) = scan {
                let reply = Array(input[start..<end])
                start = end
                scanned = end
                handle(reply)
            } else if case .invalid(let error) = scan {
                return fail("it does not speak RESP: \(error.message)")
            } else {
                break
            }
        }
        guard stage != .closed else { return }
        scanned = input.count - start
        input.removeFirst(start)
        if input.count > longestReply {
            fail("a reply is longer than \(longestReply >> 10) KB")
        }
    }

    private func handle(_ reply: [UInt8]) {
        switch stage {
        case .loggingIn:
            if let error = WatcherText.error(in: reply) {
                fail("AUTH: \(error)")
            } else if WatcherText.isOK(reply) {
                becomeReady()
            } else {
                fail("AUTH: a reply that is none")
            }
        case .ready: owner?.received(reply, from: self)
        default: fail("it has sent bytes before it was asked")
        }
    }
}

/// What a peer says, for messages.
enum WatcherText {
    private static let longest = 160

    static func isOK(_ reply: [UInt8]) -> Bool {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span) else { return false }
        return item.type == UInt8(ascii: "+") && item.matches("OK", in: reply.span)
    }

    /// Whether an error says that the user may not: there is no login, or no right.
    static func isRefusal(_ reply: [UInt8]) -> Bool {
        var scanner = ReplyScanner()
        guard case .complete = scanner.scan(reply.span, from: 0), scanner.isError else {
            return false
        }
        return scanner.head.starts(with: "NOAUTH") || scanner.head.starts(with: "NOPERM")
    }

    /// The text of an error reply: one line without control characters; nil for other replies.
    static func error(in reply: [UInt8]) -> String? {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span),
            item.type == UInt8(ascii: "-") || item.type == UInt8(ascii: "!")
        else { return nil }
        let text = reply[item.range]
        let shown = text.prefix(longest).map { (0x20...0x7E).contains($0) ? $0 : 0x3F }
        return String(decoding: shown, as: UTF8.self) + (text.count > longest ? "..." : "")
    }
}

private func watcherReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Watcher>.fromOpaque(owner).takeUnretainedValue().readable()
}

private func watcherWritable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Watcher>.fromOpaque(owner).takeUnretainedValue().writable()
}
