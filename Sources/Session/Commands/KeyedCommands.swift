// Commands with one key that follow each other in a client's input, in front of a cluster: a
// pipeline over several nodes. They are found together and sent node by node.

package import RESP

/// Numbers of nodes, 0...255; others are never in it.
package struct NodeSet {
    private var words = InlineArray<4, UInt64>(repeating: 0)

    /// An empty set.
    package init() {}

    package mutating func insert(_ node: UInt32) {
        if node < 256 { words[Int(node / 64)] |= 1 &<< UInt64(node % 64) }
    }

    @inline(__always)
    func contains(_ node: UInt16) -> Bool {
        node < 256 && words[Int(node / 64)] &>> UInt64(node % 64) & 1 != 0
    }
}

/// Some commands with one key, one behind the other. Of each array the first `count` are meant.
package struct KeyedCommands {
    /// As many are found in one call.
    package static let most = 16

    /// Where the first one begins.
    package let start: Int
    /// How many there are, 0...16.
    package fileprivate(set) var count = 0
    /// The first byte behind each.
    package fileprivate(set) var ends = InlineArray<16, Int>(repeating: 0)
    package fileprivate(set) var slots = InlineArray<16, UInt16>(repeating: 0)
    /// The numbers of the slots' owners.
    package fileprivate(set) var owners = InlineArray<16, UInt16>(repeating: 0)
    package fileprivate(set) var commands = InlineArray<16, Command>(repeating: .unknown)
    /// Whether each may change data.
    package fileprivate(set) var mayWrite = InlineArray<16, Bool>(repeating: false)

    /// None yet.
    package init(from start: Int) {
        self.start = start
    }
}

extension CommandTable {
    /// Finds the commands with one key from `found.start` on that are complete, allowed, and in the
    /// form that encoders write; at most 16 and at most `most`. They end before the first one whose
    /// slot has an owner that is not in `nodes`.
    ///
    /// - Parameters:
    ///   - longest: they end with the one that makes them this long, in bytes.
    ///   - owners: for each slot the number of its owner.
    package func findKeyed(
        _ bytes: Span<UInt8>, limits: borrowing CommandLimits, stopped: DenyList, most: Int,
        longest: Int, owners: UnsafePointer<UInt16>, nodes: borrowing NodeSet,
        _ found: inout KeyedCommands
    ) {
        var scanner = CommandScanner()
        var name = RepeatedName()
        var command = Command.unknown
        var isWrite = false
        var end = found.start
        let most = min(most, KeyedCommands.most)
        while found.count < most, end < bytes.count, end &- found.start < longest {
            guard
                case .command(let frame) = scanner.scan(bytes, frameStart: end, limits: limits),
                frame.isCanonical, frame.firstLength >= 0
            else { return }
            if !name.isName(of: frame, bytes) {
                command = find(bytes, frame)
                guard hasOneKey(command), !stopped.stops(command) else { return }
                isWrite = mayWrite(command)
                name = RepeatedName(frame, command, in: self)
            }
            let slot = Slot.of(bytes, start: frame.firstStart, length: frame.firstLength)
            let owner = unsafe owners[Int(slot)]
            guard nodes.contains(owner) else { return }
            end = frame.end
            found.ends[found.count] = end
            found.slots[found.count] = slot
            found.owners[found.count] = owner
            found.commands[found.count] = command
            found.mayWrite[found.count] = isWrite
            found.count &+= 1
        }
    }
}
