// The members of a transaction that are read again when EXEC has run them.

/// A member of a transaction whose element in EXEC's array is read.
package struct QueuedMember: Equatable, Sendable {
    /// The index in EXEC's array.
    package let index: Int
    package let expectation: Expectation
    /// The number of the expectation.
    package let value: UInt32
    /// The words of the command, if they are needed to read the element.
    package let words: [[UInt8]]
    /// What a HELLO that Redpool has judged makes of the client: its user, and its name if that
    /// changes.
    package let login: [[UInt8]]
    /// The size of this member and all before it, in bytes.
    package let total: Int

    /// The most bytes of remembered members. Beyond it the client gets a pipe.
    package static let most = 256 << 10

    package init(
        _ index: Int, _ expectation: Expectation, _ value: UInt32, _ words: [[UInt8]],
        login: [[UInt8]] = [], behind last: QueuedMember?
    ) {
        self.index = index
        self.expectation = expectation
        self.value = value
        switch expectation {
        case .mirrorName, .mirrorInfo, .rewriteList, .judged: self.words = words
        default: self.words = []
        }
        self.login = login
        let own = (self.words + login).reduce(MemoryLayout<QueuedMember>.stride) {
            $0 + $1.count + 48
        }
        total = own + (last?.total ?? 0)
    }
}
