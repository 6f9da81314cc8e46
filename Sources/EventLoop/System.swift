// Small queries to the operating system.

internal import CLibevent
internal import Glibc

/// Process-wide facts and limits.
package enum System {
    /// The text of an errno value, as strerror gives it.
    package static func errorText(_ code: Int32) -> String {
        guard let text = strerror(code) else { return "error \(code)" }
        return String(cString: text)
    }

    /// Opens those of standard input, output and error that are closed, so that no other file can
    /// get their numbers. Returns 0 or -errno.
    package static func openStandardDescriptors() -> Int32 {
        redpool_open_standard_descriptors()
    }

    /// Whether the process has the rights of root.
    package static var isRoot: Bool { geteuid() == 0 }

    /// The name of the user that the process runs as, or the user's number.
    package static var userName: String {
        guard let name = redpool_user_name() else { return String(geteuid()) }
        return String(cString: name)
    }

    /// Raises the soft limit on open files up to `wanted`, as far as the hard limit allows. Returns
    /// the resulting limit (Int64.max for none), or -errno.
    package static func raiseFileLimit(_ wanted: Int64) -> Int64 {
        redpool_raise_files(wanted)
    }

    /// There is a service manager that wants to be told.
    package static var hasServiceManager: Bool { getenv("NOTIFY_SOCKET") != nil }

    /// Sends a state line to systemd's notification socket, if there is one. Returns 0 or -errno:
    /// EAGAIN if nobody reads the socket, unless `waits` is true.
    package static func notify(_ state: String, waits: Bool = false) -> Int32 {
        guard let path = getenv("NOTIFY_SOCKET") else { return 0 }
        return redpool_notify(path, state, state.utf8.count, waits)
    }

    /// How long systemd's watchdog waits for this process, in nanoseconds; nil if it does not watch
    /// it. Removes the variables, which children must not see.
    package static func takeWatchdog() -> Int64? {
        let microseconds = redpool_environment_number("WATCHDOG_USEC")
        let target = redpool_environment_number("WATCHDOG_PID")
        for name in ["WATCHDOG_USEC", "WATCHDOG_PID"] { unsetenv(name) }
        guard microseconds > 0, target == -1 || target == Int64(getpid()) else { return nil }
        let (nanoseconds, isTooLong) = microseconds.multipliedReportingOverflow(by: 1000)
        return isTooLong ? nil : nanoseconds
    }

    /// The memory that is resident, in bytes; nil where /proc does not say.
    package static var residentBytes: Int? {
        let bytes = redpool_resident_bytes()
        return bytes < 0 ? nil : Int(bytes)
    }

    /// Processor time of all threads in nanoseconds.
    package static var processTime: Int64 { redpool_process_time() }

    /// The number of open descriptors; nil where the system does not tell.
    package static var openFiles: UInt64? { UInt64(exactly: redpool_open_files()) }

    /// The limit of open descriptors; nil if there is none.
    package static var maxFiles: UInt64? { UInt64(exactly: redpool_file_limit()) }

    /// Returns free heap memory to the system. Takes about a millisecond per 100 MB.
    package static func trimHeap() {
        redpool_trim_heap()
    }

    /// Ends the process at once, without exit handlers.
    package static func exitNow(_ code: Int32) -> Never {
        _exit(code)
    }
}
