// Who may do what on the console. This is the only check: whoever can open the socket may look, and
// only root and the daemon's own user may change something.

import EventLoop
import Glibc
import RESP

/// The process at the other end of a connection, and its user.
struct Caller: Equatable {
    let process: Int32
    /// Nil if the system does not tell: then nothing may be changed.
    let user: UInt32?

    init(process: Int32, user: UInt32?) {
        self.process = process
        self.user = user
    }

    /// Who has opened this connection.
    init(of descriptor: Int32) {
        let found = SocketAddress.process(of: descriptor)
        self.init(process: found?.pid ?? 0, user: found?.uid)
    }

    var userText: String { user.map { "\($0)" } ?? "?" }
}

enum Access {
    /// Commands that change nothing, by their first words. All others are refused to other users.
    static let readOnly: [Word] = [
        "ping", "quit", "hello", "auth", "client", "command", "info", "help", "show",
    ]

    /// A command with this first word changes something.
    static func isChange(_ word: Word) -> Bool { !readOnly.contains(word) }

    /// Why `caller` may not give a command with this first word; nil if it may.
    static func refusal(
        of word: Word, to caller: Caller, daemon: UInt32 = geteuid()
    ) -> String? {
        guard isChange(word) else { return nil }
        if let user = caller.user, user == 0 || user == daemon { return nil }
        let wanted = daemon == 0 ? "uid 0" : "uid 0 or \(daemon)"
        return "NOPERM this command is for \(wanted), and you have uid \(caller.userText)"
    }
}
