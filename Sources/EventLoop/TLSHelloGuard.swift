// A bound on what OpenSSL keeps for a client before it has said anything: it takes the memory for a
// ClientHello of up to 128 KB as soon as it has seen the length in the message's first four bytes.

/// Follows the plaintext records of a client in its handshake, and refuses a ClientHello that is
/// too long (RFC 8446, 4.1.2 and 5.1). Other messages have limits in OpenSSL.
struct TLSHelloGuard {
    /// In bytes. Those of clients in use have 200 to 2,000.
    static let longestHello = 16 << 10

    private var header: UInt64 = 0
    private var headerCount = 0
    /// Bytes of the present record that are still to come.
    private var recordLeft = 0
    private var isOfHandshake = false
    private var message: UInt32 = 0
    private var messageCount = 0
    /// Bytes of the present message that are still to come, in this record or later ones.
    private var messageLeft = 0
    /// What follows is encrypted: no ClientHello.
    private var isOver = false

    /// False if a ClientHello is too long.
    ///
    /// - Parameter isVersion13: TLS 1.3 has been agreed on, or nothing yet. In earlier versions
    ///   records of the handshake are encrypted behind ChangeCipherSpec; 1.3 gives it no meaning.
    mutating func allows(_ bytes: UnsafeRawBufferPointer, isVersion13: Bool) -> Bool {
        for byte in bytes where !isOver {
            if !take(byte, isVersion13) { return false }
        }
        return true
    }

    private mutating func take(_ byte: UInt8, _ isVersion13: Bool) -> Bool {
        if recordLeft == 0 {
            header = header << 8 | UInt64(byte)
            headerCount += 1
            if headerCount == 5 { beginRecord(isVersion13) }
            return true
        }
        recordLeft -= 1
        guard isOfHandshake else { return true }
        if messageLeft > 0 {
            messageLeft -= 1
            return true
        }
        message = message << 8 | UInt32(byte)
        messageCount += 1
        guard messageCount == 4 else { return true }
        let (type, length) = (message >> 24, Int(message & 0xFF_FFFF))
        (message, messageCount, messageLeft) = (0, 0, length)
        return type != 1 || length <= TLSHelloGuard.longestHello
    }

    private mutating func beginRecord(_ isVersion13: Bool) {
        let type = header >> 32
        recordLeft = Int(header & 0xFFFF)
        (header, headerCount) = (0, 0)
        isOfHandshake = type == 22
        isOver = type == 20 && !isVersion13
    }
}
