// Finds the keys of a command, as COMMAND GETKEYS does (Redis 6.2 to 8.0, Valkey 8.0 and 8.1), and
// their slots. Nothing is allocated. Three differences matter to no command that runs: a number of
// keys like `2x`, which GETKEYS reads as 2, is malformed; 6.2 names ZUNIONSTORE's destination last;
// and Redis 6.2 and 8.0 find no keys of XREADGROUP where a group or a stream is named like an
// option.

package import RESP

/// The places of a command's keys, and a walk over them in the order of the arguments.
package struct KeyWalk: Sendable {
    private var places = KeyPlaces()
    private var arguments: CommandArguments
    /// The next argument's number.
    private var index = 0

    /// Finds the places. Nil when the command cannot have keys there: the server answers with an
    /// error.
    package init?(_ spec: KeySpec, _ bytes: Span<UInt8>, _ frame: CommandFrame) {
        arguments = CommandArguments(bytes, frame: frame)
        guard let places = KeyPlaces(spec, bytes, frame) else { return nil }
        self.places = places
    }

    /// The place of the next key's bytes; nil after the last. Every call gets the same bytes.
    package mutating func next(_ bytes: Span<UInt8>) -> (start: Int, length: Int)? {
        while index <= places.highest, let place = arguments.next(bytes) {
            defer { index &+= 1 }
            if places.contains(index) { return place }
        }
        return nil
    }
}

/// The slots of a command's keys.
package enum KeySlots: Equatable, Sendable {
    /// It has no keys.
    case none
    /// All its keys are in this slot.
    case one(UInt16)
    /// Its keys are in several slots; that of the first key.
    case several(first: UInt16)
    /// Where its keys are is not known: it is not in the table, or the server answers with an
    /// error.
    case malformed
}

extension CommandTable {
    /// The slots of a command's keys.
    package func slots(
        _ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> KeySlots {
        guard let spec = keySpec(command) else { return .malformed }
        if spec == .none { return .none }
        guard var walk = KeyWalk(spec, bytes, frame) else { return .malformed }
        guard let key = walk.next(bytes) else { return .none }
        let first = Slot.of(bytes, start: key.start, length: key.length)
        while let key = walk.next(bytes) {
            if Slot.of(bytes, start: key.start, length: key.length) != first {
                return .several(first: first)
            }
        }
        return .one(first)
    }
}

extension CommandTable {
    /// The slot of the first key of a command that has not come whole: of its arguments there are
    /// `words`, and the last one may be cut. Nil if the key is not there, or not known.
    package func firstSlot(ofBegun command: Command, _ words: [[UInt8]]) -> UInt16? {
        guard let spec = keySpec(command) else { return nil }
        let index: Int
        switch spec {
        case .none: return nil
        case .range(let first, _, _): index = first
        case .counted(let at, _, let hasDestination): index = hasDestination ? 1 : at + 1
        case .sort, .georadius: index = 1
        case .migrate: index = 3
        case .streams:
            let option = words.firstIndex { Word($0) == "STREAMS" }
            guard let option else { return nil }
            index = option + 1
        }
        guard index < words.count - 1 else { return nil }
        let key = words[index]
        return Slot.of(key.span, start: 0, length: key.count)
    }
}

/// Numbers of arguments that are keys: a range, and up to three single ones.
private struct KeyPlaces: Sendable {
    private var first = 0
    private var last = -1
    private var step = 1
    private var singles: (Int, Int, Int) = (-1, -1, -1)

    init() {}

    init?(_ spec: KeySpec, _ bytes: Span<UInt8>, _ frame: CommandFrame) {
        let count = frame.argumentCount
        switch spec {
        case .none: break
        case .range(let first, let last, let step):
            self.first = first
            self.last = last < 0 ? count &+ last : last
            self.step = step
            guard self.last >= first, self.last < count else { return nil }
        case .counted(let at, let step, let hasDestination):
            let number = KeyPlaces.number(at: at, bytes, frame)
            guard let number else { return nil }
            first = at &+ 1
            self.step = step
            last = at &+ number &* step
            guard last < count, number > 0 || !hasDestination else { return nil }
            if hasDestination { singles.0 = 1 }
        case .streams, .sort, .georadius, .migrate:
            guard search(spec, bytes, frame) else { return nil }
        }
    }

    /// The highest number.
    var highest: Int { max(last, singles.0, singles.1, singles.2) }

    func contains(_ index: Int) -> Bool {
        if index >= first, index <= last, (index &- first) % step == 0 { return true }
        return index == singles.0 || index == singles.1 || index == singles.2
    }

    /// A number of keys, 0 to the number of arguments.
    private static func number(
        at wanted: Int, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Int? {
        var arguments = CommandArguments(bytes, frame: frame)
        for _ in 0..<wanted where arguments.next(bytes) == nil { return nil }
        guard let place = arguments.next(bytes) else { return nil }
        let most = Int64(frame.argumentCount)
        return Word.integer(bytes, start: place.start, count: place.length, in: 0...most).map {
            Int($0)
        }
    }

    /// Looks through the options of a command. False when they are not what they have to be.
    private mutating func search(
        _ spec: KeySpec, _ bytes: Span<UInt8>, _ frame: CommandFrame
    ) -> Bool {
        let count = frame.argumentCount
        var arguments = CommandArguments(bytes, frame: frame)
        var index = 0
        /// Values of options, which are not read as options.
        var skipped = 0
        let from = spec == .georadius ? 5 : spec == .migrate ? 6 : spec == .sort ? 2 : 1
        if spec == .sort || spec == .georadius { singles.0 = 1 }
        if spec == .migrate { singles.0 = 3 }
        guard count > max(singles.0, 1) else { return false }
        while let place = arguments.next(bytes) {
            defer { index &+= 1 }
            if spec == .migrate, index == 3, place.length > 0 { return true }
            guard index >= from else { continue }
            if skipped > 0 {
                skipped &-= 1
                continue
            }
            let word = Word(bytes, start: place.start, count: place.length)
            switch (spec, word) {
            case (.streams, "streams"):
                let rest = count &- index &- 1
                first = index &+ 1
                last = index &+ rest / 2
                return rest > 0 && rest % 2 == 0
            case (.streams, "block"), (.streams, "count"), (.streams, "claim"): skipped = 1
            case (.streams, "group"): skipped = 2
            case (.streams, "noack"): break
            case (.streams, _): return false
            case (.migrate, "keys"):
                singles.0 = -1
                first = index &+ 1
                last = count &- 1
                return last >= first
            case (.migrate, "auth"), (.sort, "get"), (.sort, "by"): skipped = 1
            case (.migrate, "auth2"), (.sort, "limit"): skipped = 2
            case (.sort, "store"), (.georadius, "store"), (.georadius, "storedist"):
                guard index &+ 1 < count else { break }
                if word == "storedist" { singles.2 = index &+ 1 } else { singles.1 = index &+ 1 }
                skipped = 1
            default: break
            }
        }
        return spec != .streams
    }
}
