// The private key of a file: its text is in memory until a context has been made of it, and then
// only its digest.

internal import Synchronization

/// A private key in PEM. Two are equal if their files have the same contents.
package final class PrivateKey: Sendable {
    private let digest: Digest
    private let text: Mutex<Secret?>

    package init(_ pem: [UInt8]) {
        digest = Digest(of: pem)
        text = Mutex(Secret(pem))
    }

    /// A copy of the text, which is not overwritten: for the moment of its use. Empty behind
    /// `forget`.
    package var pem: [UInt8] { text.withLock { $0?.bytes ?? [] } }

    /// What stands for the key when it is forgotten: by it a reload finds out whether the file has
    /// another one.
    package var fingerprint: [UInt8] { digest.bytes }

    /// A context has the key now. Overwrites the text.
    package func forget() { text.withLock { $0 = nil } }
}

extension PrivateKey: Equatable {
    package static func == (left: PrivateKey, right: PrivateKey) -> Bool {
        left.digest == right.digest
    }
}
