// TLS on a blocking socket: its ends are seen by the subcommands that ask something and end.

internal import CLibevent
internal import Glibc

/// What a blocking socket has of TLS. The loop is there for its memory: nothing waits on it.
struct BlockingTLS {
    let loop: EventLoop
    let stream: TLSStream
}

extension BlockingSocket {
    /// Begins TLS as a client of the server with this name, and returns when the server is
    /// verified.
    package func beginTLS(
        _ context: TLSContext, name: String, until deadline: Int64
    ) throws(Failure) -> TLSFacts {
        guard let loop = EventLoop() else { throw .system(EMFILE) }
        let stream = TLSStream(context, as: .client(name: name, session: nil), loop: loop)
        tls = BlockingTLS(loop: loop, stream: stream)
        stream.begin(descriptor)
        var nothing: UInt8 = 0
        while stream.isHandshaking {
            let count = stream.receive(descriptor, into: &nothing, count: 1)
            if stream.isHandshaking { _ = try handle(count, stream, until: deadline) }
        }
        guard let facts = stream.facts else { throw failure(of: stream) }
        return facts
    }

    /// The server has asked for a client certificate, and there is none.
    package var lacksCertificate: Bool { tls?.stream.lacksCertificate ?? false }

    func send(
        _ bytes: [UInt8], over stream: TLSStream, until deadline: Int64
    ) throws(Failure) {
        var bytes = bytes
        var sent = 0
        while sent < bytes.count || stream.unsent > 0 {
            let count = bytes.withUnsafeMutableBytes { raw in
                var part = IOPart(base: raw.baseAddress.map { $0 + sent }, count: raw.count - sent)
                return withUnsafeMutablePointer(to: &part) {
                    sent < raw.count
                        ? stream.send(descriptor, UnsafeMutableBufferPointer(start: $0, count: 1))
                        : stream.drain(descriptor)
                }
            }
            if count > 0 {
                sent += count
            } else if count == -Int(EAGAIN) {
                try wait(for: POLLOUT, until: deadline)
            } else if count < 0 {
                throw stream.isFailed ? failure(of: stream) : .system(Int32(clamping: -count))
            }
        }
    }

    func receive(
        into input: inout [UInt8], over stream: TLSStream, until deadline: Int64
    ) throws(Failure) -> Bool {
        while true {
            let count = withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { room in
                guard let base = room.baseAddress else { return -Int(ENOMEM) }
                let count = stream.receive(descriptor, into: base, count: room.count)
                if count > 0 { input.append(contentsOf: room[..<count]) }
                return count
            }
            if count > 0 { return true }
            if try !handle(count, stream, until: deadline) { return false }
        }
    }

    /// Waits after a read that has brought nothing. False at the end of the stream.
    private func handle(
        _ result: Int, _ stream: TLSStream, until deadline: Int64
    ) throws(Failure) -> Bool {
        if stream.isFailed { throw failure(of: stream) }
        if result == 0 || stream.peerHasFinished {
            if stream.isHandshaking { throw .closed }
            return false
        }
        guard result == -Int(EAGAIN) else { throw .system(Int32(clamping: -result)) }
        if stream.unsent > 0 {
            try wait(for: POLLOUT, until: deadline)
            _ = stream.drain(descriptor)
        } else if !stream.keepsInput {
            try wait(for: POLLIN, until: deadline)
        }
        return true
    }

    private func failure(of stream: TLSStream) -> Failure {
        if case .failed(let problem) = stream.state { return .tls(problem) }
        return .closed
    }
}
