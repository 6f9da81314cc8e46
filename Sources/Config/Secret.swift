// Passwords in memory that is overwritten when nobody needs them any more. Not every copy can be:
// Swift makes temporary ones of arrays and strings, and the bytes of an AUTH stand in the buffers
// of its connection until others replace them.

internal import CTLS

/// A password. Its memory is its own, and is overwritten with the last reference to it.
package struct Secret: Sendable {
    /// Immutable after its initializer.
    @safe
    private final class Memory: @unchecked Sendable {
        let bytes: UnsafeMutableRawBufferPointer

        init(_ source: some Collection<UInt8>) {
            unsafe bytes = UnsafeMutableRawBufferPointer.allocate(
                byteCount: max(1, source.count), alignment: 1)
            unsafe bytes.copyBytes(from: source)
        }

        deinit {
            unsafe OPENSSL_cleanse(bytes.baseAddress, bytes.count)
            unsafe bytes.deallocate()
        }
    }

    private let memory: Memory
    /// Its length in bytes.
    package let count: Int

    package init(_ bytes: some Collection<UInt8>) {
        memory = Memory(bytes)
        count = bytes.count
    }

    /// A copy, which is not overwritten: for the moment of its use.
    package var bytes: [UInt8] { unsafe Array(memory.bytes.prefix(count)) }

    /// The same as text.
    package var text: String { String(decoding: bytes, as: UTF8.self) }

    /// Whether it is the same password. The time does not depend on where the two differ.
    package func matches(_ other: Secret) -> Bool {
        unsafe count == other.count
            && CRYPTO_memcmp(memory.bytes.baseAddress, other.memory.bytes.baseAddress, count) == 0
    }

    /// The same for a password that a client has sent.
    package func matches(_ other: [UInt8]) -> Bool {
        unsafe count == other.count
            && CRYPTO_memcmp(memory.bytes.baseAddress, other, count) == 0
    }

    /// Overwrites an array that held one, unless something else refers to it.
    package static func wipe<Element: BitwiseCopyable>(_ elements: inout [Element]) {
        unsafe elements.withUnsafeMutableBytes { memory in
            unsafe OPENSSL_cleanse(memory.baseAddress, memory.count)
        }
    }
}

extension Secret: Equatable {
    package static func == (left: Secret, right: Secret) -> Bool { left.matches(right) }
}

extension Secret: ExpressibleByStringLiteral {
    package init(stringLiteral text: String) { self.init(text.utf8) }
}

extension Secret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Never the password.
    package var description: String { "***" }

    /// Equals `description`.
    package var debugDescription: String { description }

    /// For `dump` and debuggers: the description instead of the fields.
    package var customMirror: Mirror { Mirror(self, children: ["description": description]) }
}
