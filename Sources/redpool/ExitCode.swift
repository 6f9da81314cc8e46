// Exit codes of sysexits.h, so that a unit file or a script can distinguish failures.

import Glibc

enum Sysexit {
    /// What was asked about is not well, or the daemon refuses the command.
    static let unwell: Int32 = 1
    /// The command line is wrong.
    static let usage: Int32 = 64
    /// A hand-over file cannot be read.
    static let data: Int32 = 65
    /// The configuration file cannot be opened.
    static let noInput: Int32 = 66
    /// No daemon answers.
    static let unavailable: Int32 = 69
    /// An internal failure.
    static let software: Int32 = 70
    /// A limit of the operating system: descriptors, memory, threads.
    static let osError: Int32 = 71
    /// A listener cannot be created.
    static let cannotCreate: Int32 = 73
    /// Permission denied.
    static let noPermission: Int32 = 77
    /// The configuration is wrong.
    static let config: Int32 = 78
}

/// A failed start: one line for the operator, and the exit code.
struct StartFailure: Error {
    let code: Int32
    /// Nil if the log has said it.
    let message: String?
}

/// Writes lines to standard error.
func complain(_ text: String) {
    let line = Array((text + "\n").utf8)
    var written = 0
    while written < line.count {
        let count = line[written...].withUnsafeBytes {
            write(STDERR_FILENO, $0.baseAddress, $0.count)
        }
        if count <= 0 { return }
        written += count
    }
}
