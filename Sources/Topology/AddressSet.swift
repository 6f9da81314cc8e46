// The addresses that a name or a list stands for, over several answers.

/// Addresses that are asked for again and again. An address is given up when it is missing from two
/// answers in a row: round-robin records and lists that are being made anew leave one out. An empty
/// answer says nothing and is not counted.
package struct AddressSet: Sendable {
    /// What has changed, in the order of the answers.
    package struct Change: Equatable, Sendable {
        /// Addresses that were not in the set.
        package var added: [NodeAddress]
        /// Addresses that are in the set no longer: connections to them are to be closed.
        package var givenUp: [NodeAddress]

        package init(added: [NodeAddress] = [], givenUp: [NodeAddress] = []) {
            self.added = added
            self.givenUp = givenUp
        }
    }

    private struct Entry {
        let address: NodeAddress
        var misses = 0
    }

    private var entries: [Entry] = []
    private var isDoubted = false

    /// Answers in a row without an address after which it is given up.
    private static let missesUntilGivenUp = 2

    /// No addresses.
    package init() {}

    /// What may be dialled: the addresses of the latest answer.
    package var current: [NodeAddress] { entries.filter { $0.misses == 0 }.map(\.address) }

    /// Whether connections to the address may stay.
    package func contains(_ address: NodeAddress) -> Bool {
        entries.contains { $0.address == address }
    }

    /// Takes an answer. Addresses in it twice count once.
    package mutating func take(_ answer: [NodeAddress]) -> Change {
        var change = Change()
        guard !answer.isEmpty else { return change }
        let limit = isDoubted ? 1 : Self.missesUntilGivenUp
        isDoubted = false
        for index in entries.indices {
            entries[index].misses =
                answer.contains(entries[index].address) ? 0 : entries[index].misses + 1
        }
        change.givenUp = entries.filter { $0.misses >= limit }.map(\.address)
        entries.removeAll { $0.misses >= limit }
        for address in answer where !contains(address) {
            entries.append(Entry(address: address))
            change.added.append(address)
        }
        return change
    }

    /// A node behind the set has changed its role or is lost: the next answer alone decides which
    /// addresses are given up. The shell closes all connections to the set meanwhile, because the
    /// name may stand for another node already.
    package mutating func doubt() { isDoubted = true }
}
