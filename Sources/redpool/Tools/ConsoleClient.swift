// Subcommands that send a command to the console of a running daemon, and print the answer.

import EventLoop
import Glibc

/// A connection to the console.
struct ConsoleClient {
    private let exchange: Exchange
    private let path: String

    /// Most commands are answered at once.
    private static let patience: Int64 = 5_000_000_000
    /// A pause is answered when the pool is quiet, and lasts an hour at most; a reload is answered
    /// when all workers have the file.
    private static let longPatience: Int64 = 3610_000_000_000

    /// Connects to the socket of a request.
    init(_ request: ConsoleRequest) throws {
        path = request.socket
        guard let address = SocketAddress(unixPath: path) else {
            throw UsageError(
                problem: "'\(path)' is no path of a socket", subcommand: request.subcommand)
        }
        let isSlow = [.pause, .reload, .upgrade].contains(request.subcommand)
        do throws(ExchangeFailure) {
            exchange = try Exchange(
                address, within: isSlow ? ConsoleClient.longPatience : ConsoleClient.patience)
        } catch {
            throw ConsoleClient.unavailable(path, error)
        }
    }

    private static func unavailable(_ path: String, _ failure: ExchangeFailure) -> StartFailure {
        StartFailure(
            code: Sysexit.unavailable,
            message: "redpool: no daemon answers at \(path): \(failure.text)")
    }

    /// The answer to a command.
    func ask(_ words: [String]) throws -> Answer {
        do throws(ExchangeFailure) {
            return try exchange.ask(words)
        } catch {
            throw ConsoleClient.unavailable(path, error)
        }
    }
}

/// Carries out a subcommand that is a command of the console. Returns the exit code.
func askConsole(_ request: ConsoleRequest) throws -> Int32 {
    let name = request.subcommand.rawValue.uppercased()
    let words = [name] + request.words + (request.wantsJSON ? ["JSON"] : [])
    return try watched(request) {
        switch try ConsoleClient(request).ask(words) {
        case .error(let text):
            return (Sysexit.unwell, complaint(text, request.subcommand))
        case .text(let text):
            return (0, [text.hasSuffix("\n") ? String(text.dropLast()) : text])
        case .list(let lines):
            return (0, lines)
        case .null:
            return (0, [])
        }
    }
}

/// The lines for an error of the console. A refused reload has all problems in one error.
private func complaint(_ text: String, _ subcommand: Subcommand) -> [String] {
    guard [.reload, .upgrade].contains(subcommand), text.hasPrefix("ERR ") else {
        return ["redpool: \(text)"]
    }
    if subcommand == .upgrade { return ["redpool: \(text.dropFirst(4))"] }
    let problems = text.dropFirst(4).split(separator: ";").map {
        String($0.drop { $0 == " " })
    }
    return ["redpool: nothing was changed:"] + problems
}

/// Prints lines, on standard error if the exit code is not 0. With `--watch` it does so every 2 s,
/// and goes on when the daemon does not answer.
func watched(
    _ request: ConsoleRequest, _ look: () throws -> (code: Int32, lines: [String])
) throws -> Int32 {
    guard request.isWatched else {
        let (code, lines) = try look()
        let isAnswer = code == 0 || request.subcommand == .status
        for line in lines { isAnswer ? print(line) : complain(line) }
        return code
    }
    let isTerminal = isatty(STDOUT_FILENO) == 1
    while true {
        let lines: [String]
        do {
            lines = try look().lines
        } catch let failure as StartFailure {
            lines = [failure.message ?? ""]
        }
        // Home, and erase what is below: the screen does not flicker.
        print(isTerminal ? "\u{1B}[H\u{1B}[J" : "", terminator: "")
        for line in lines { print(line) }
        if !isTerminal { print() }
        guard fflush(nil) == 0 else { return Sysexit.unwell }
        poll(nil, 0, 2000)
    }
}
