// Commands whose keys are in several slots: the parts that are sent, and the one reply that is made
// of their replies. Servers of a cluster refuse keys of two slots in one command, also if they have
// both.

package import RESP

/// A command with many keys, in parts with one slot each. The parts have the command's own name and
/// keep the order of its keys.
package struct Split: Sendable {
    /// What a part is sent as, and how many of the command's keys it has.
    package struct Part: Sendable {
        package let slot: UInt16
        /// Where it is in `commands`.
        package fileprivate(set) var range = 0..<0
        package fileprivate(set) var keyCount = 0
        /// The numbers of its first and its last piece.
        fileprivate var first: Int
        fileprivate var last: Int
    }

    /// A key or a value, and the number of the next one in its part; that of itself for the last.
    private struct Piece {
        let range: Range<Int>
        var next: Int
    }

    /// In the order of their first keys.
    package private(set) var parts: [Part] = []
    /// What the parts are sent as, one behind the other.
    package private(set) var commands: [UInt8] = []
    /// For each key of the command the number of its part. Duplicates count.
    package private(set) var partOfKey: [Int32] = []
    /// How the replies become one.
    package let merge: Merge

    /// So many parts are looked through for that of a key, before a table is made.
    private static let mostSearched = 16

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
        var pieces: [Piece] = []
        pieces.reserveCapacity(frame.argumentCount)
        partOfKey.reserveCapacity(frame.argumentCount)
        parts.reserveCapacity(min(frame.argumentCount, Split.mostSearched))
        var places: [UInt16: Int] = [:]
        while let key = arguments.next(bytes) {
            let slot = Slot.of(bytes, start: key.start, length: key.length)
            let place = place(of: slot, &places, firstPiece: pieces.count)
            parts[place].keyCount += 1
            partOfKey.append(Int32(truncatingIfNeeded: place))
            add(key.start..<(key.start + key.length), to: place, &pieces)
            if merge == .setting {
                guard let value = arguments.next(bytes) else { return nil }
                add(value.start..<(value.start + value.length), to: place, &pieces)
            }
        }
        guard !parts.isEmpty else { return nil }
        // Each part has the name, and each word a header of its own.
        commands.reserveCapacity(
            frame.end - frame.start + parts.count * (name.length + 32))
        encode(name.start..<(name.start + name.length), pieces, bytes)
    }

    /// The number of the part for a slot, which begins here if there is none.
    private mutating func place(
        of slot: UInt16, _ places: inout [UInt16: Int], firstPiece: Int
    ) -> Int {
        if parts.count <= Split.mostSearched {
            for index in parts.indices where parts[index].slot == slot { return index }
        } else if let known = places[slot] {
            return known
        }
        parts.append(Part(slot: slot, first: firstPiece, last: firstPiece))
        if parts.count > Split.mostSearched {
            if places.isEmpty { for index in parts.indices { places[parts[index].slot] = index } }
            places[slot] = parts.count - 1
        }
        return parts.count - 1
    }

    private mutating func add(_ range: Range<Int>, to place: Int, _ pieces: inout [Piece]) {
        let number = pieces.count
        pieces.append(Piece(range: range, next: number))
        pieces[parts[place].last].next = number
        parts[place].last = number
    }

    private mutating func encode(_ name: Range<Int>, _ pieces: [Piece], _ bytes: Span<UInt8>) {
        let piecesOfKey = merge == .setting ? 2 : 1
        for place in parts.indices {
            let start = commands.count
            Encode.arrayHeader(1 + parts[place].keyCount * piecesOfKey, into: &commands)
            Encode.bulk(bytes, name, into: &commands)
            var number = parts[place].first
            while true {
                Encode.bulk(bytes, pieces[number].range, into: &commands)
                if pieces[number].next == number { break }
                number = pieces[number].next
            }
            parts[place].range = start..<commands.count
        }
    }
}
