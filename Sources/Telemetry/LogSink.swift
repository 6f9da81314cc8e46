import Glibc
package import Logging
import Synchronization

/// The file descriptor for log lines, standard error. It never blocks its caller: a line without
/// room is dropped and counted.
package final class LogSink: Sendable {
    /// The longest line in bytes, with its line break. It is Linux's `PIPE_BUF`: a write of up to
    /// this size to a pipe is atomic, and does not block once `poll` has reported room.
    package static let lineLimit = 4096

    /// The number of lines that were lost since the start, because the other end is not read or the
    /// write failed.
    package var suppressed: UInt64 {
        counts.reduce(0) { $0 + $1.lost.load(ordering: .relaxed) }
    }

    private final class Counts: Sendable {
        let written = Atomic<UInt64>(0)
        let lost = Atomic<UInt64>(0)
    }

    private let descriptor: Int32
    /// One for each level, the least severe first.
    private let counts = Logger.Level.allCases.map { _ in Counts() }

    /// A sink that writes to `descriptor` and leaves it open.
    package init(descriptor: Int32 = STDERR_FILENO) {
        self.descriptor = descriptor
    }

    /// The format for the descriptor, chosen by the environment, `fstat` and `isatty`.
    package func suitedFormat() -> LogFormat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return .logfmt }
        return LogFormat.suited(
            journalStream: getenv("JOURNAL_STREAM").map { String(cString: $0) },
            device: UInt64(status.st_dev), inode: UInt64(status.st_ino),
            isTerminal: isatty(descriptor) == 1)
    }

    /// Writes a line, which must end in a line break, with one `write(2)`.
    ///
    /// A line that is too long, or is written only in part or not at all, is counted in
    /// `suppressed`; it cannot be reported anywhere else.
    package func write(_ line: String, level: Logger.Level = .info) {
        let place = Logger.Level.allCases.firstIndex(of: level) ?? 0
        counts[place].written.wrappingAdd(1, ordering: .relaxed)
        var line = line
        let written = line.withUTF8 { bytes -> Bool in
            guard bytes.count <= LogSink.lineLimit, hasRoom() else { return false }
            while true {
                let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
                if count == bytes.count { return true }
                guard count < 0, errno == EINTR else { return false }
            }
        }
        if !written { counts[place].lost.wrappingAdd(1, ordering: .relaxed) }
    }

    /// The lines of a level since the start, lost ones included, and those that were lost.
    package func lines(of level: Logger.Level) -> (written: UInt64, lost: UInt64) {
        guard let place = Logger.Level.allCases.firstIndex(of: level) else { return (0, 0) }
        return (
            counts[place].written.load(ordering: .relaxed),
            counts[place].lost.load(ordering: .relaxed)
        )
    }

    /// Whether a write would not block. Regular files and terminals are always ready.
    private func hasRoom() -> Bool {
        var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        while true {
            let ready = poll(&request, 1, 0)
            if ready >= 0 { return ready == 1 && request.revents & Int16(POLLOUT) != 0 }
            guard errno == EINTR else { return false }
        }
    }
}

/// The wall clock in nanoseconds since 1970.
package func wallClock() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
