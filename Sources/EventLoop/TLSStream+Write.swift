// What a TLS connection writes: groups of records, what the socket has refused of them, the
// goodbye, and the proof of how much the peer can have read.

internal import CLibevent
internal import CTLS
internal import Glibc

extension TLSStream {
    /// Writes what the socket has refused. 0, -EAGAIN while something is left, or -errno.
    func drain(_ descriptor: Int32) -> Int {
        if writeError < 0 { return writeError }
        while let bytes = output.bytes {
            let sent = redpool_send(descriptor, bytes, output.count)
            if sent < 0 {
                if sent != -Int(EAGAIN) { writeError = sent }
                return sent
            }
            handed += Int64(sent)
            output.consume(sent)
            if output.count > 0 { return -Int(EAGAIN) }
        }
        if shutsBehindOutput {
            shutsBehindOutput = false
            _ = redpool_shutdown_write(descriptor)
        }
        return 0
    }

    /// Sends what is in the window, or keeps it. Returns as `drain`.
    func flush(_ descriptor: Int32) -> Int {
        let made = scratch.window.pointee.out_used
        scratch.window.pointee.out_used = 0
        guard made > 0, let bytes = scratch.window.pointee.out, writeError == 0 else {
            return writeError
        }
        if output.count > 0 {
            output.append(bytes, made)
            return drain(descriptor)
        }
        let sent = redpool_send(descriptor, bytes, made)
        if sent < 0, sent != -Int(EAGAIN) {
            writeError = sent
            return sent
        }
        handed += Int64(max(sent, 0))
        if sent == made { return 0 }
        output.append(bytes + max(sent, 0), made - max(sent, 0))
        return -Int(EAGAIN)
    }

    /// Encrypts as much as the socket takes, and at most one group of records more, which is kept.
    /// Returns the number of plaintext bytes taken, -EAGAIN, or -errno.
    func send(_ descriptor: Int32, _ parts: UnsafeMutableBufferPointer<IOPart>) -> Int {
        if stage == .failed { return TLSStream.brokenProtocol }
        if stage == .handshaking { return -Int(EAGAIN) }
        let ready = drain(descriptor)
        if ready < 0 { return ready }
        var source = PartCursor(parts, joiningIn: scratch.plaintext)
        var taken = 0
        while true {
            let before = taken
            for _ in 0..<TLSStream.recordsPerGroup {
                guard let piece = source.next(), piece.count > 0 else { break }
                let count = encrypt(piece)
                if count < 0 {
                    // The memory is the next connection's.
                    scratch.window.pointee.out_used = 0
                    return before > 0 ? before : count
                }
                source.advance(count)
                taken += count
            }
            if taken == before { return taken }
            let result = flush(descriptor)
            if result == -Int(EAGAIN) { return taken }
            // What earlier groups took is sent: the error is reported with the next call.
            if result < 0 { return before > 0 ? before : result }
        }
    }

    private func encrypt(_ piece: UnsafeRawBufferPointer) -> Int {
        let start = scratch.window.pointee.out_used
        var error = redpool_tls_error()
        let count = redpool_tls_write(
            ssl, piece.baseAddress, Int32(clamping: piece.count), &error)
        guard count > 0 else {
            if count == redpool_tls_broken.rawValue {
                fail(error)
            } else {
                fail(.other, "a write that has to wait for input")
            }
            hasNews = true
            return TLSStream.brokenProtocol
        }
        encrypted += Int64(count)
        if !isServer { noteRecord(from: start) }
        return Int(count)
    }

    /// Notes where the record ends that begins at `start` in the window. If OpenSSL wrote more
    /// than one, the peer may have opened a part of the plaintext with the first: all of it counts
    /// with that one.
    private func noteRecord(from start: Int) {
        let window = scratch.window.pointee
        let made = window.out_used - start
        guard made >= 5, let bytes = window.out else { return }
        let length = 5 + Int(bytes[start + 3]) << 8 + Int(bytes[start + 4])
        let begin = handed + Int64(output.count + start)
        records.add(plainEnd: encrypted, cipherEnd: begin + Int64(min(length, made)))
    }

    /// Says close_notify behind everything that was taken. Nothing can be sent afterwards.
    func sayGoodbye(_ descriptor: Int32) {
        guard stage == .open, !hasSaidGoodbye, writeError == 0 else { return }
        hasSaidGoodbye = true
        redpool_tls_close_notify(ssl)
        _ = flush(descriptor)
    }

    /// Says close_notify, then shuts the writing side, now or when everything has gone.
    func finishWriting(_ descriptor: Int32) {
        sayGoodbye(descriptor)
        if output.count > 0 {
            shutsBehindOutput = true
        } else {
            _ = redpool_shutdown_write(descriptor)
        }
    }
}

// MARK: - The proof of what the peer has

extension TLSStream {
    /// How much of the plaintext the peer may have opened, at most. `acknowledged` is what its
    /// kernel has of the ciphertext, if that is known and final.
    func receivedBound(acknowledged: Int64?) -> Int64 {
        records.plaintext(within: min(acknowledged ?? handed, handed))
    }

    /// The plaintext before this position is answered, so nobody asks about it.
    func forgetRecords(upTo position: Int64) { records.forget(upTo: position) }

    /// How many records are kept. For tests.
    var recordCount: Int { records.count }
}
