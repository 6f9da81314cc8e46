// Connected sockets on this machine, both ends in the test's hand.

package import EventLoop
internal import Glibc

/// What carries the bytes between two ends.
package enum Transport: String, CaseIterable, Sendable {
    case unix
    case tcp
}

/// A condition did not come true, or the system has refused something.
package struct TestFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// The descriptors of two ends that are connected with each other; neither blocks.
package func connectedPair(_ transport: Transport) throws -> (Int32, Int32) {
    switch transport {
    case .unix:
        var ends: [Int32] = [-1, -1]
        let type =
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
            | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            throw TestFailure("socketpair: \(System.errorText(errno))")
        }
        return (ends[0], ends[1])
    case .tcp:
        let (listener, address) = try loopbackListener()
        defer { close(listener) }
        let near = address.connect(keepaliveSeconds: 0, userTimeoutMilliseconds: 0)
        guard near >= 0 else { throw TestFailure("connect: \(System.errorText(-near))") }
        return (near, try acceptOne(listener))
    }
}

/// A socket that listens on a port of its own, and where it can be reached.
package func loopbackListener() throws -> (descriptor: Int32, address: SocketAddress) {
    guard let any = SocketAddress(numericHost: "127.0.0.1", port: 0) else {
        throw TestFailure("127.0.0.1 is no address")
    }
    let listener = any.listen(backlog: 16)
    guard listener >= 0 else { throw TestFailure("listen: \(System.errorText(-listener))") }
    guard let address = SocketAddress.local(of: listener) else {
        throw TestFailure("a listener without an address")
    }
    return (listener, address)
}

/// Waits for a connection and takes it.
package func acceptOne(_ listener: Int32) throws -> Int32 {
    try awaitReadable(listener)
    let (descriptor, _) = SocketAddress.accept(listener)
    guard descriptor >= 0 else { throw TestFailure("accept: \(System.errorText(-descriptor))") }
    return descriptor
}

/// Waits until there is something to read.
package func awaitReadable(_ descriptor: Int32) throws {
    var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    guard poll(&entry, 1, Int32(Patience.milliseconds)) == 1 else {
        throw TestFailure("nothing to read in \(Patience.milliseconds) ms")
    }
}

/// Waits until `condition` holds, while other threads or the kernel work on it.
package func eventually(_ what: String, _ condition: () throws -> Bool) throws {
    let end = EventLoop.now() + Patience.nanoseconds
    while try !condition() {
        if EventLoop.now() >= end { throw TestFailure("never: \(what)") }
        sched_yield()
    }
}

/// How long a test waits for what has to happen before it fails.
package enum Patience {
    package static let milliseconds: Int64 = 20_000
    package static let nanoseconds = milliseconds * 1_000_000
}

extension EventLoop {
    /// Runs turns until `condition` holds.
    package func run(until what: String, _ condition: () throws -> Bool) throws {
        let end = EventLoop.now() + Patience.nanoseconds
        // So that a turn in which nothing happens ends.
        let alarm = Timer(
            loop: self, owner: Unmanaged.passUnretained(self).toOpaque(), callback: ignoreAlarm)
        alarm.start(at: end)
        while try !condition() {
            guard EventLoop.now() < end else { throw TestFailure("never: \(what)") }
            guard runOnce() else { throw TestFailure("the loop has failed") }
        }
    }
}

private func ignoreAlarm(_: Int32, _: Int16, _: UnsafeMutableRawPointer?) {}
