// A connected socket without an event loop, for the subcommands that ask something and end.

internal import CLibevent
internal import Glibc

/// A socket whose calls wait, but not beyond a deadline. Deadlines are times of `now`.
package final class BlockingSocket {
    let descriptor: Int32
    /// Nil without TLS.
    var tls: BlockingTLS?

    /// Why a call has failed.
    package enum Failure: Error {
        /// The system's error.
        case system(Int32)
        /// The deadline has passed.
        case late
        /// TLS has failed.
        case tls(TLSProblem)
        /// The peer has closed the connection in the handshake of TLS.
        case closed
    }

    /// The monotonic clock in nanoseconds.
    package static var now: Int64 { redpool_monotonic() }

    /// Connects.
    package init(_ address: SocketAddress, until deadline: Int64) throws(Failure) {
        let result = address.connect(keepaliveSeconds: 0, userTimeoutMilliseconds: 0)
        guard result >= 0 else { throw .system(-result) }
        descriptor = result
        try wait(for: POLLOUT, until: deadline)
        let error = redpool_socket_error(descriptor)
        guard error == 0 else { throw .system(error) }
    }

    deinit { close(descriptor) }

    /// Sends all bytes.
    package func send(_ bytes: [UInt8], until deadline: Int64) throws(Failure) {
        if let tls { return try send(bytes, over: tls.stream, until: deadline) }
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                redpool_send(descriptor, $0.baseAddress! + sent, $0.count - sent)
            }
            if count > 0 {
                sent += count
            } else if count == -Int(EAGAIN) {
                try wait(for: POLLOUT, until: deadline)
            } else {
                throw .system(Int32(truncatingIfNeeded: -count))
            }
        }
    }

    /// Appends what has arrived, at least one byte. False at the end of what the peer sends.
    package func receive(into input: inout [UInt8], until deadline: Int64) throws(Failure) -> Bool {
        if let tls { return try receive(into: &input, over: tls.stream, until: deadline) }
        while true {
            try wait(for: POLLIN, until: deadline)
            let count = withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { room in
                let count = redpool_recv(descriptor, room.baseAddress, room.count)
                if count > 0 { input.append(contentsOf: room[..<count]) }
                return count
            }
            if count >= 0 { return count > 0 }
            guard count == -Int(EAGAIN) else {
                throw .system(Int32(truncatingIfNeeded: -count))
            }
        }
    }

    func wait(for events: Int32, until deadline: Int64) throws(Failure) {
        let result = redpool_wait(descriptor, Int16(truncatingIfNeeded: events), deadline)
        if result == -ETIMEDOUT { throw .late }
        if result < 0 { throw .system(-result) }
    }
}
