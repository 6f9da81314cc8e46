// SHA-256 of the passwords of clients: only their digests are kept. OpenSSL calculates it.

internal import CTLS

/// The SHA-256 of some bytes.
package struct Digest: Sendable {
    /// Its 32 bytes.
    package let bytes: [UInt8]

    private static let length = 32

    /// The digest of `bytes`, which are not copied.
    package init(of bytes: some Collection<UInt8>) {
        var digest = [UInt8](repeating: 0, count: Digest.length)
        let isDone = bytes.withContiguousStorageIfAvailable { input in
            // It fails only without memory.
            unsafe EVP_Digest(input.baseAddress, input.count, &digest, nil, EVP_sha256(), nil) == 1
        }
        precondition(isDone == true, "no SHA-256")
        self.bytes = digest
    }

    /// Reads 64 hexadecimal digits; nil for anything else.
    init?(hexadecimal digits: ArraySlice<UInt8>) {
        guard digits.count == 2 * Digest.length else { return nil }
        var read: [UInt8] = []
        for (index, digit) in digits.enumerated() {
            let value: UInt8
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = digit - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = digit - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): value = digit - UInt8(ascii: "A") + 10
            default: return nil
            }
            if index % 2 == 0 {
                read.append(value << 4)
            } else {
                read[index / 2] |= value
            }
        }
        bytes = read
    }

    /// Stands for the digest of a password that does not exist.
    static let none = Digest(zeros: length)

    private init(zeros: Int) { bytes = [UInt8](repeating: 0, count: zeros) }

    /// Whether the two are equal. The time is the same wherever they differ.
    package func matches(_ other: Digest) -> Bool {
        unsafe CRYPTO_memcmp(bytes, other.bytes, Digest.length) == 0
    }
}

extension Digest: Equatable {
    package static func == (left: Digest, right: Digest) -> Bool { left.matches(right) }
}
