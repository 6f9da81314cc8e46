// Commands and replies over a connection of a subcommand.

import Config
import EventLoop
import Proxy
import RESP

/// A reply as a subcommand reads it.
enum Answer: Equatable {
    /// An error, without its `-`.
    case error(String)
    /// A line, a number or a text.
    case text(String)
    /// The texts of an array or a map, nested ones in the order of the wire.
    case list([String])
    case null
}

/// Why there is no reply.
struct ExchangeFailure: Error {
    /// False: nobody was reached.
    let wasConnected: Bool
    /// The cause, for example `Connection refused`.
    let text: String
}

/// A connection on which each command waits for its reply, until a deadline for all of them.
final class Exchange {
    private let socket: BlockingSocket
    private let deadline: Int64
    private var input: [UInt8] = []
    /// Nothing has been answered yet.
    private var isFirst = true
    private var scanner = ReplyScanner()
    /// The words for a problem of TLS.
    private var words: (TLSProblem) -> String = { "TLS: \($0.text)" }
    /// More than any reply that is asked for.
    private static let longest = 256 << 20

    /// Connects. `time` is for the connection and all its commands, in nanoseconds.
    init(_ address: SocketAddress, within time: Int64) throws(ExchangeFailure) {
        let (end, overflow) = BlockingSocket.now.addingReportingOverflow(time)
        deadline = overflow ? Int64.max : end
        do throws(BlockingSocket.Failure) {
            socket = try BlockingSocket(address, until: deadline)
        } catch {
            throw ExchangeFailure(wasConnected: false, text: Exchange.text(error))
        }
    }

    /// Begins TLS to a server or a Sentinel, whose certificate is verified as the daemon does it.
    /// `host` is what was dialled, `place` what messages call it.
    func beginTLS(
        _ tls: UpstreamTLS, host: String, place: String
    ) throws(ExchangeFailure) -> TLSFacts {
        let name = tls.name(of: host)
        let context: TLSContext
        do throws(TLSSettingsProblem) {
            context = try tls.context()
        } catch {
            throw ExchangeFailure(wasConnected: true, text: "TLS: \(error.message)")
        }
        words = { $0.words(name: name, place: place) }
        do throws(BlockingSocket.Failure) {
            return try socket.beginTLS(context, name: name, until: deadline)
        } catch {
            let text =
                switch error {
                case .tls(let problem): words(problem)
                case .late: "no answer to the TLS handshake: does \(place) speak TLS?"
                case .closed, .system: "\(Exchange.text(error)) in the TLS handshake"
                }
            throw ExchangeFailure(wasConnected: true, text: text)
        }
    }

    /// Begins TLS without looking at the certificate: for Redpool's own listener, which gets only a
    /// PING.
    func beginUnverifiedTLS() throws(ExchangeFailure) {
        let context: TLSContext
        do throws(TLSSettingsProblem) {
            context = try TLSContext.shared(TLSSettings(side: .client, verification: .none))
        } catch {
            throw ExchangeFailure(wasConnected: true, text: "TLS: \(error.message)")
        }
        do throws(BlockingSocket.Failure) {
            _ = try socket.beginTLS(context, name: "localhost", until: deadline)
        } catch {
            throw ExchangeFailure(
                wasConnected: true, text: "\(Exchange.text(error)) in the TLS handshake")
        }
    }

    /// A server may refuse a client certificate after the handshake.
    private func text(_ failure: BlockingSocket.Failure) -> String {
        if case .tls(let problem) = failure { return words(problem) }
        let text = Exchange.text(failure)
        guard socket.lacksCertificate, isFirst else { return text }
        return words(TLSProblem(kind: .seemsToWantCertificate, text: text))
    }

    private static func text(_ failure: BlockingSocket.Failure) -> String {
        switch failure {
        case .tls(let problem): "TLS: \(problem.text)"
        case .closed: "it has closed the connection"
        case .system(let error): System.errorText(error)
        case .late: "no answer in time"
        }
    }

    /// Sends a command and waits for the reply.
    func ask(_ words: [String]) throws(ExchangeFailure) -> Answer {
        Exchange.read(try replies(to: [words.map { Array($0.utf8) }])[0])
    }

    /// Sends commands in one piece and waits for the replies, whose bytes it returns.
    func replies(to commands: [[[UInt8]]]) throws(ExchangeFailure) -> [[UInt8]] {
        var bytes: [UInt8] = []
        for command in commands { Encode.command(command, into: &bytes) }
        do throws(BlockingSocket.Failure) {
            try socket.send(bytes, until: deadline)
        } catch {
            throw ExchangeFailure(wasConnected: true, text: text(error))
        }
        var replies: [[UInt8]] = []
        for _ in commands { replies.append(try reply()) }
        return replies
    }

    private func reply() throws(ExchangeFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        swap(&bytes, &input)
        var scanned = 0
        while bytes.count < Exchange.longest {
            switch scanner.scan(bytes.span, from: scanned) {
            case .complete(let end):
                input = Array(bytes[end...])
                isFirst = false
                return Array(bytes[..<end])
            case .invalid(let error):
                throw ExchangeFailure(
                    wasConnected: true, text: "it does not speak RESP (\(error.message))")
            case .incomplete:
                scanned = bytes.count
            }
            do throws(BlockingSocket.Failure) {
                guard try socket.receive(into: &bytes, until: deadline) else { break }
            } catch {
                throw ExchangeFailure(wasConnected: true, text: text(error))
            }
        }
        throw ExchangeFailure(wasConnected: true, text: text(.closed))
    }

    /// Reads the reply at the beginning of the bytes, which is complete.
    static func read(_ bytes: [UInt8]) -> Answer {
        var cursor = ReplyCursor(from: 0)
        guard let outer = cursor.next(bytes.span) else { return .null }
        func text(_ item: ReplyItem) -> String { printable(bytes[item.range]) }
        switch outer.type {
        case UInt8(ascii: "-"), UInt8(ascii: "!"): return .error(text(outer))
        case UInt8(ascii: "*"), UInt8(ascii: "%"), UInt8(ascii: "~"):
            if outer.isNull { return .null }
            var texts: [String] = []
            while let item = cursor.next(bytes.span) {
                let isGroup = [UInt8(ascii: "*"), UInt8(ascii: "%"), UInt8(ascii: "~")]
                    .contains(item.type)
                if !isGroup { texts.append(text(item)) }
            }
            return .list(texts)
        default: return outer.isNull ? .null : .text(text(outer))
        }
    }

    /// Text for a terminal: without control characters other than tabs and line feeds.
    private static func printable(_ bytes: ArraySlice<UInt8>) -> String {
        var result = String.UnicodeScalarView()
        for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars where scalar != "\r" {
            let isKept =
                scalar == "\n" || scalar == "\t"
                || ![.control, .format].contains(scalar.properties.generalCategory)
            result.append(isKept ? scalar : "?")
        }
        return String(result)
    }
}
