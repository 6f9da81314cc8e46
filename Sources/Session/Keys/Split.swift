// Commands whose keys are in several slots: the parts that are sent, and the one reply that is made
// of their replies. Servers of a cluster refuse keys of two slots in one command, also if they have
// both.

package import RESP

/// A command with many keys, in parts with one slot each. The parts have the command's own name and
/// keep the order of its keys.
package struct Split: Sendable {
    /// What a part is sent as, and which of the command's keys it has.
    package struct Part: Sendable {
        package let slot: UInt16
        package fileprivate(set) var command: [UInt8] = []
        /// The numbers of its keys among the command's keys, from 0 on, ascending.
        package fileprivate(set) var keys: [Int] = []
        fileprivate var words: [Range<Int>] = []
    }

    /// In the order of their first keys.
    package private(set) var parts: [Part] = []
    /// How many keys the command has; duplicates count.
    package private(set) var keyCount = 0
    /// How the replies become one.
    package let merge: Merge

    /// Nil when the command is not one that is split, or has no keys, or a key without its value.
    /// A command with all keys in one slot has one part.
    ///
    /// - Parameter includesMSET: whether MSET, which then is not atomic, is split as well.
    package init?(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame, includesMSET: Bool
    ) {
        guard let merge = Merge(command, includesMSET: includesMSET) else { return nil }
        self.merge = merge
        var arguments = CommandArguments(bytes, frame: frame)
        guard let name = arguments.next(bytes) else { return nil }
        var places: [UInt16: Int] = [:]
        while let key = arguments.next(bytes) {
            let slot = Slot.of(bytes, start: key.start, length: key.length)
            let place = places[slot] ?? parts.count
            if place == parts.count {
                places[slot] = place
                parts.append(Part(slot: slot))
                parts[place].words.append(name.start..<(name.start + name.length))
            }
            parts[place].keys.append(keyCount)
            parts[place].words.append(key.start..<(key.start + key.length))
            keyCount += 1
            if merge == .setting {
                guard let value = arguments.next(bytes) else { return nil }
                parts[place].words.append(value.start..<(value.start + value.length))
            }
        }
        guard keyCount > 0 else { return nil }
        for place in parts.indices {
            Encode.arrayHeader(parts[place].words.count, into: &parts[place].command)
            for word in parts[place].words {
                Encode.bulk(bytes, word, into: &parts[place].command)
            }
            parts[place].words = []
        }
    }
}
