package import Logging

/// The format of a log line.
package enum LogFormat: String, Sendable, CaseIterable {
    /// `<N>` with the syslog priority, then the fields of `logfmt` without time and level, which
    /// journald adds when it reads the standard error of a service.
    case journal
    /// Time, level, event and message, then the fields: for people.
    case text
    /// `ts=... level=... event=... msg="..." key=value`: for programs.
    case logfmt

    /// The format for what standard error is connected to.
    ///
    /// `journalStream` is the environment variable `JOURNAL_STREAM`, `DEVICE:INODE` in decimal.
    /// systemd sets it, and children inherit it although their standard error may be another file.
    /// So it counts only if it names `device` and `inode`, those of standard error
    /// (systemd.exec(5), systemd 231 and later).
    package static func suited(
        journalStream: String?, device: UInt64, inode: UInt64, isTerminal: Bool
    ) -> LogFormat {
        if let journalStream, journalStream == "\(device):\(inode)" { return .journal }
        return isTerminal ? .text : .logfmt
    }
}

/// What is logged and how.
package struct LogConfiguration: Sendable, Equatable {
    /// The least severe level that is logged.
    package var level: Logger.Level
    /// The format of a line.
    package var format: LogFormat

    package init(level: Logger.Level, format: LogFormat) {
        self.level = level
        self.format = format
    }
}
