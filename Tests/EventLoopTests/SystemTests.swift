import CLibevent
import EventLoop
import Glibc
import TestSupport
import Testing

@Suite("System")
struct SystemTests {
    @Test("errors have the system's words")
    func errorText() {
        #expect(System.errorText(ENOENT) == "No such file or directory")
        #expect(System.errorText(ECONNREFUSED) == "Connection refused")
        #expect(System.errorText(99_999) == "Unknown error 99999")
    }

    @Test("the user has a name or a number")
    func userName() throws {
        let name = System.userName
        #expect(!name.isEmpty)
        if let entry = getpwuid(geteuid()) {
            #expect(name == String(cString: entry.pointee.pw_name))
        } else {
            #expect(name == String(geteuid()))
        }
    }

    @Test("the limit of open files is raised to the hard one at most, and never lowered")
    func fileLimit() {
        func limits() -> rlimit {
            var limits = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
            return limits
        }
        let before = limits()
        let soft = Int64(clamping: before.rlim_cur)
        #expect(System.raiseFileLimit(1) >= soft)
        #expect(limits().rlim_cur == before.rlim_cur)
        #expect(System.raiseFileLimit(.max) == Int64(clamping: before.rlim_max))
        #expect(limits().rlim_cur == before.rlim_max)
        #expect(limits().rlim_max == before.rlim_max)
    }

    @Test("standard descriptors that are open stay what they are")
    func standardDescriptors() {
        func inodes() -> [UInt] {
            (0...2).map { descriptor in
                var facts = stat()
                return fstat(Int32(descriptor), &facts) == 0 ? UInt(facts.st_ino) : 0
            }
        }
        let before = inodes()
        #expect(System.openStandardDescriptors() == 0)
        #expect(zip(before, inodes()).allSatisfy { $0 == 0 || $0 == $1 })
    }

    @Test("without systemd nobody is notified")
    func noNotification() {
        guard getenv("NOTIFY_SOCKET") == nil else { return }
        #expect(System.notify("READY=1") == 0)
    }

    @Test("a state line is one datagram", arguments: [false, true])
    func notification(isAbstract: Bool) throws {
        let folder = try Folder()
        let path = folder.path("notify")
        let name = isAbstract ? "@" + path : path
        var address = sockaddr_storage()
        var length: socklen_t = 0
        #expect(redpool_unix_address(name, &address, &length) == 0)
        let socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(socket) }
        if isAbstract {
            withUnsafeMutableBytes(of: &address) { $0[2] = 0 }
            length -= 1
        }
        #expect(redpool_bind(socket, &address, length) == 0)
        let text = "READY=1\nSTATUS=fine"
        #expect(redpool_notify(name, text, text.utf8.count, false) == 0)
        var buffer = [UInt8](repeating: 0, count: 64)
        try awaitReadable(socket)
        let count = recv(socket, &buffer, buffer.count, 0)
        #expect(String(decoding: buffer.prefix(max(0, count)), as: UTF8.self) == text)
    }

    @Test("a notification that goes nowhere is an error")
    func badNotification() throws {
        let folder = try Folder()
        #expect(redpool_notify("", "x", 1, false) == -EINVAL)
        #expect(redpool_notify(String(repeating: "x", count: 108), "x", 1, false) == -EINVAL)
        #expect(redpool_notify(folder.path("nobody"), "x", 1, false) == -ENOENT)
    }

    @Test("giving memory back changes nothing that is in use")
    func trimHeap() {
        let bytes = [UInt8](repeating: 5, count: 100_000)
        System.trimHeap()
        #expect(bytes.allSatisfy { $0 == 5 })
    }
}

/// One loop in a process can have signals at a time, so these do not run beside each other.
@Suite("Signals", .serialized)
struct SignalTests {
    private static let ignored = unsafeBitCast(SIG_IGN, to: Int.self)

    /// What a signal does now; it goes on doing that.
    private func action(of signal: Int32) -> Int {
        let handler = Glibc.signal(signal, SIG_IGN)
        _ = Glibc.signal(signal, handler)
        return unsafeBitCast(handler, to: Int.self)
    }

    /// Threads that run tests may block signals.
    private func letting(_ signals: [Int32], _ body: () throws -> Void) rethrows {
        var wanted = sigset_t()
        var before = sigset_t()
        sigemptyset(&wanted)
        for signal in signals { sigaddset(&wanted, signal) }
        pthread_sigmask(SIG_UNBLOCK, &wanted, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try body()
    }

    @Test("what ends a process for nothing is ignored")
    func ignoreMeaningless() {
        Signals.ignoreMeaningless()
        for signal in [SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2] {
            #expect(action(of: signal) == SignalTests.ignored)
            raise(signal)
        }
        #expect(action(of: SIGTERM) != SignalTests.ignored)
    }

    @Test("a watch is called for every delivery, until it is gone")
    func watch() throws {
        try letting([SIGUSR1, SIGUSR2]) { try checkWatch() }
    }

    private func checkWatch() throws {
        let loop = try #require(EventLoop())
        Signals.ignoreMeaningless()
        let (one, other) = (Counter(), Counter())
        var watch: Optional = SignalWatch(
            signal: SIGUSR1, loop: loop, owner: one.pointer, callback: count)
        let second = SignalWatch(
            signal: SIGUSR2, loop: loop, owner: other.pointer, callback: count)
        #expect(loop.runOnce(waiting: false))
        #expect((one.calls, other.calls) == (0, 0))
        raise(SIGUSR1)
        raise(SIGUSR2)
        raise(SIGUSR1)
        try loop.run(until: "three calls") { one.calls + other.calls >= 3 }
        #expect(one.calls == 2)
        #expect(other.calls == 1)
        watch = nil
        raise(SIGUSR1)
        raise(SIGUSR2)
        try loop.run(until: "the other's call") { other.calls == 2 }
        #expect(one.calls == 2)
        withExtendedLifetime(watch) {}
        withExtendedLifetime(second) {}
    }
}
