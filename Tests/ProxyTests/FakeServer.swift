// A server that says what a test has it say, on the test's own thread.

import EventLoop
import Glibc
import RESP
import Session
import TestSupport

/// One connection to the server.
final class Link {
    private(set) var descriptor: Int32
    private var input: [UInt8] = []
    private var output: [UInt8] = []
    private var written = 0
    /// What it has been asked, in order, its own handshake included.
    private(set) var commands: [[String]] = []
    private(set) var hasEnded = false
    /// What its server says in ROLE.
    var role = "master"
    /// Nothing is read while this is set.
    var isStopped = false
    /// At most so many bytes of replies are written at a time.
    var pace = Int.max
    private var isInTransaction = false
    /// It speaks RESP3.
    private var isNewProtocol = false
    private var queued: [[String]] = []
    /// Replies to commands whose first argument begins with this word wait for `release`.
    var withheld: String?
    private var kept: [UInt8] = []

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close() }

    var isOpen: Bool { descriptor >= 0 }

    /// Ends the connection: in order if nothing is unread.
    func close() {
        if isOpen { Glibc.close(descriptor) }
        descriptor = -1
    }

    /// Ends the connection at once.
    func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    /// Says something that nobody has asked for.
    func say(_ text: String) { output += utf8(text) }

    /// Gives the replies that were kept, and keeps no more.
    func release() {
        withheld = nil
        output += kept
        kept = []
    }

    func count(of name: String, _ argument: String) -> Int {
        commands.count { $0.count > 1 && $0[0] == name && $0[1] == argument }
    }

    /// Reads, answers and writes what there is.
    func serve() {
        guard isOpen else { return }
        if !isStopped { read() }
        write()
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count == 0 { hasEnded = true }
            if count <= 0 { break }
            input += buffer[..<count]
        }
        var position = 0
        while position < input.count {
            var scanner = CommandScanner()
            guard
                case .command(let frame) = scanner.scan(
                    input.span, frameStart: position, limits: CommandLimits())
            else { break }
            let words = CommandTable.words(input.span, frame).map { text($0) }
            position = frame.end
            commands.append(words)
            answer(words)
        }
        input.removeFirst(position)
        // Who has been told that nothing more comes goes as well.
        if hasEnded, output.isEmpty, kept.isEmpty { close() }
    }

    private func answer(_ words: [String]) {
        let reply = isInTransaction ? transactional(words) : ordinary(words)
        if !kept.isEmpty || (withheld.map { words.count > 1 && words[1].hasPrefix($0) } ?? false) {
            kept += reply
        } else {
            output += reply
        }
    }

    private func transactional(_ words: [String]) -> [UInt8] {
        switch words[0].uppercased() {
        case "EXEC":
            isInTransaction = false
            return utf8("*\(queued.count)\r\n") + queued.flatMap { ordinary($0) }
        case "DISCARD":
            isInTransaction = false
            return utf8("+OK\r\n")
        default:
            queued.append(words)
            return utf8("+QUEUED\r\n")
        }
    }

    private func ordinary(_ words: [String]) -> [UInt8] {
        switch words[0].uppercased() {
        case "PING": return words.count > 1 ? bulk(words[1]) : utf8("+PONG\r\n")
        case "ECHO": return bulk(words[1])
        case "GET" where words[1].hasPrefix("big:"):
            return bulk(String(repeating: "x", count: Int(words[1].dropFirst(4)) ?? 0))
        case "GET": return bulk("value of \(words[1])")
        case "INFO": return bulk("# Server\r\nredis_version:7.0.15\r\nrun_id:0123\r\n")
        case "CONFIG": return array([words[2], words[2] == "timeout" ? "0" : "normal 0 0 0"])
        case "COMMAND" where words.count == 3: return utf8("*1\r\n*-1\r\n")
        case "COMMAND": return utf8("*2\r\n*1\r\n$5\r\nmulti\r\n*1\r\n$4\r\nexec\r\n")
        case "ROLE": return array([role, "0"])
        case "CLIENT" where words[1].uppercased() == "ID": return utf8(":77\r\n")
        case "CLIENT" where words[1].uppercased() == "INFO":
            return bulk("id=77 addr=1.1.1.1:1 fd=8 name= db=0 cmd=client|info user=default\n")
        case "CLIENT" where words[1].uppercased() == "LIST":
            return bulk("id=77 addr=1.1.1.1:1 fd=8 name= db=0 cmd=client|list user=default\n")
        case "CLIENT" where words[1].uppercased() == "KILL":
            return utf8(words.count == 3 ? "-ERR No such client\r\n" : ":0\r\n")
        case "CLIENT" where words[1].uppercased() == "UNBLOCK": return utf8(":0\r\n")
        case "AUTH" where words.last != "good":
            return utf8("-WRONGPASS invalid username-password pair or user is disabled.\r\n")
        case "HELLO":
            isNewProtocol = words.count > 1 && words[1] == "3"
            return utf8("+OK\r\n")
        case "SUBSCRIBE":
            return words.dropFirst().enumerated().flatMap { index, name in
                utf8(isNewProtocol ? ">3\r\n" : "*3\r\n") + bulk("subscribe") + bulk(name)
                    + utf8(":\(index + 1)\r\n")
            }
        case "UNSUBSCRIBE":
            return utf8("*3\r\n") + bulk("unsubscribe") + bulk("news") + utf8(":0\r\n")
        case "BLPOP": return []
        case "EVAL" where words[1].hasPrefix("error("): return utf8("-ERR redpool redpool\r\n")
        case "NOSUCH": return utf8("-ERR unknown command 'NOSUCH', with args beginning with: \r\n")
        case "MULTI":
            isInTransaction = true
            queued = []
            return utf8("+OK\r\n")
        default: return utf8("+OK\r\n")
        }
    }

    private func write() {
        while written < output.count {
            let size = min(output.count - written, pace)
            let count = output.withUnsafeBytes {
                send(
                    descriptor, $0.baseAddress! + written, size,
                    Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            }
            if count <= 0 { return }
            written += count
            if pace != .max { break }
        }
        if written == output.count {
            output = []
            written = 0
        }
    }
}

/// All connections to one address.
final class FakeServer {
    private let listener: Int32
    let port: UInt16
    private(set) var links: [Link] = []
    /// What it says in ROLE.
    var role = "master" { didSet { for link in links { link.role = role } } }
    /// Done to each connection when it comes.
    var onAccept: (Link) -> Void = { _ in }

    init() throws {
        let (listener, address) = try loopbackListener()
        self.listener = listener
        port = address.port
        // So that little is on its way when nobody reads.
        var size: Int32 = 32_768
        setsockopt(
            listener, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit { close(listener) }

    /// Takes connections and serves all that there are.
    func serve() {
        while true {
            let (descriptor, _) = SocketAddress.accept(listener)
            guard descriptor >= 0 else { break }
            let link = Link(descriptor)
            link.role = role
            links.append(link)
            onAccept(link)
        }
        for link in links { link.serve() }
    }

    var openLinks: [Link] { links.filter(\.isOpen) }

    /// The connection that has been sent this command.
    func link(with command: String...) -> Link? {
        links.first { $0.commands.contains(command) }
    }

    /// How often a command has arrived, on any connection.
    func count(of name: String, _ argument: String) -> Int {
        links.reduce(0) { $0 + $1.count(of: name, argument) }
    }
}
