// The names that go upstream in one command of Redpool's own.

internal import RESP

extension SubscriptionKind {
    var begin: SubscribeVerb {
        switch self {
        case .channel: .subscribe
        case .pattern: .psubscribe
        case .shard: .ssubscribe
        }
    }

    var end: SubscribeVerb {
        switch self {
        case .channel: .unsubscribe
        case .pattern: .punsubscribe
        case .shard: .sunsubscribe
        }
    }
}

/// Names for one command. A node of a cluster accepts shard channels of one slot only.
struct Batch {
    let verb: SubscribeVerb
    private(set) var names: [[UInt8]] = []
    private(set) var entries: [UInt32] = []
    private var bytes = 0
    private var slot: UInt16 = 0

    static let mostNames = 512
    static let mostBytes = 1 << 20

    init(_ verb: SubscribeVerb) { self.verb = verb }

    var isFull: Bool { names.count >= Batch.mostNames || bytes >= Batch.mostBytes }

    /// Whether the name may be in the same command as those that are there.
    func isFit(_ name: [UInt8]) -> Bool {
        names.isEmpty || verb.kind != .shard || Batch.slot(name) == slot
    }

    mutating func add(_ name: [UInt8], _ entry: Int?) {
        if names.isEmpty, verb.kind == .shard { slot = Batch.slot(name) }
        names.append(name)
        entries.append(entry.map { UInt32($0) } ?? Send.noEntry)
        bytes += name.count
    }

    static func slot(_ name: [UInt8]) -> UInt16 {
        Slot.of(name.span, start: 0, length: name.count)
    }
}

/// The names of fences: `redpool:fence`, `redpool:fence:1` and so on.
struct FenceNames {
    /// For each slot of a cluster the first number, above 0, whose name is in it; 0 if it is not
    /// known yet.
    private var numbers: [UInt32] = []
    private var last: UInt32 = 0

    /// Looks for numbers as long as it has to, and remembers those that it finds for other slots:
    /// some 170,000 names in all.
    mutating func number(in slot: UInt16) -> UInt32 {
        if numbers.isEmpty { numbers = [UInt32](repeating: 0, count: Slot.count) }
        while numbers[Int(slot)] == 0 {
            last += 1
            let found = Int(Batch.slot(FenceNames.name(last)))
            if numbers[found] == 0 { numbers[found] = last }
        }
        return numbers[Int(slot)]
    }

    static func name(_ number: UInt32) -> [UInt8] {
        let base: StaticString = "redpool:fence"
        let name = base.withUTF8Buffer { unsafe Array($0) }
        return number == 0 ? name : name + Array(":\(number)".utf8)
    }
}
