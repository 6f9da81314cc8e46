// Listening sockets that the service manager has opened and passed on (socket activation). The
// protocol is that of sd_listen_fds(3): LISTEN_PID names the process that they are for, LISTEN_FDS
// is their number, and the first one is descriptor 3.

internal import CLibevent
internal import Glibc

/// A listening socket that the process was started with.
package struct InheritedSocket: Sendable {
    package let descriptor: Int32
    /// The address that it is bound to.
    package let address: SocketAddress
    /// An IPv6 socket that takes IPv4 clients as well.
    package let takesBothFamilies: Bool
}

/// Why the passed sockets cannot be used, for messages.
package struct InheritFailure: Error {
    package let text: String
}

extension InheritedSocket {
    /// The first passed descriptor.
    private static let first: Int32 = 3
    /// More than any process has.
    private static let most: Int64 = 1 << 16

    /// Takes the sockets that are for this process, and removes the variables, which children and
    /// later calls must not see. Call it before there are other threads.
    package static func takeAll() throws(InheritFailure) -> [InheritedSocket] {
        let target = redpool_environment_number("LISTEN_PID")
        let count = redpool_environment_number("LISTEN_FDS")
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsetenv(name) }
        guard target == Int64(getpid()), count != -1 else { return [] }
        guard (0...most).contains(count) else {
            throw InheritFailure(text: "LISTEN_FDS is no number of descriptors")
        }
        var found: [InheritedSocket] = []
        for descriptor in first..<(first + Int32(count)) { found.append(try take(descriptor)) }
        return found
    }

    private static func take(_ descriptor: Int32) throws(InheritFailure) -> InheritedSocket {
        let result = redpool_adopt_listener(descriptor)
        guard result >= 0, let address = SocketAddress.local(of: descriptor) else {
            let cause =
                result == -EINVAL
                ? "it is no listening stream socket" : System.errorText(-min(result, -1))
            throw InheritFailure(
                text: "cannot use descriptor \(descriptor) of the service manager: \(cause)")
        }
        return InheritedSocket(
            descriptor: descriptor, address: address, takesBothFamilies: result == 1)
    }
}
