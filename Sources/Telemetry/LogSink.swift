import Glibc
import Synchronization

/// The file descriptor that log lines go to, standard error. It never blocks its caller: a line
/// for which there is no room is dropped and counted.
package final class LogSink: Sendable {
    /// The longest line in bytes, its line break included: Linux's `PIPE_BUF`, up to which a write
    /// to a pipe is atomic, and does not block once `poll` has said that there is room.
    package static let lineLimit = 4096

    /// The lines that were lost since the start, because nobody reads the other end or writing
    /// failed.
    package var suppressed: UInt64 { lost.load(ordering: .relaxed) }

    private let descriptor: Int32
    private let lost = Atomic<UInt64>(0)

    /// A sink that writes to `descriptor` and leaves it open.
    package init(descriptor: Int32 = STDERR_FILENO) {
        self.descriptor = descriptor
    }

    /// The format that suits the descriptor, by the environment, `fstat` and `isatty`.
    package func suitedFormat() -> LogFormat {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return .logfmt }
        return LogFormat.suited(
            journalStream: getenv("JOURNAL_STREAM").map { String(cString: $0) },
            device: UInt64(status.st_dev), inode: UInt64(status.st_ino),
            isTerminal: isatty(descriptor) == 1)
    }

    /// Writes a line, which ends in a line break, by one `write(2)`.
    ///
    /// A line that is too long, or only partly taken, or refused, is counted in `suppressed`; there
    /// is nowhere else to report it.
    package func write(_ line: String) {
        var line = line
        let written = line.withUTF8 { bytes -> Bool in
            guard bytes.count <= LogSink.lineLimit, hasRoom() else { return false }
            while true {
                let count = Glibc.write(descriptor, bytes.baseAddress, bytes.count)
                if count == bytes.count { return true }
                guard count < 0, errno == EINTR else { return false }
            }
        }
        if !written { lost.wrappingAdd(1, ordering: .relaxed) }
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
