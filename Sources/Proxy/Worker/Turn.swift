// One client's turn in a loop iteration: how much of its input is handled before the other clients
// have their turns. Bytes alone do not measure that cost: 64 KB can be 32,000 blank lines.

/// What is left of a turn.
struct Turn {
    /// In units of commands that came as arrays.
    private(set) var left = Turn.commands

    /// A pipeline of 16-byte commands uses up a turn with one read.
    private static let commands = 4096
    /// Cost of an inline line: it is split into words and turned into an array.
    static let line = 32
    /// Cost of a command that is not simply forwarded, or that Redpool answers itself: it and its
    /// reply need more work.
    static let special = 64
    /// Cost of any other command on a held upstream.
    static let held = 4
    /// Cost of a blank line or an empty array.
    static let blank = 4

    /// True when the input at `position` has to wait for the next turn. Otherwise one command is
    /// charged for it.
    @inline(__always)
    mutating func isOver(at position: Int) -> Bool {
        left &-= 1
        return left < 0 || position >= ClientConnection.inputLimit
    }

    /// Charges `cost` for a command that was charged as one.
    mutating func spend(_ cost: Int) { left &-= cost &- 1 }
}

extension Worker {
    /// Resumes a client in the next iteration, after the other clients.
    func carryOver(_ client: ClientConnection) {
        guard client.lists.insert(.carriedOver).inserted else { return }
        work.carriedOver.append(client.id)
    }

    /// Called before an iteration: clients whose turn ended in the last one are resumed at its end.
    func readyCarriedOver() {
        for id in work.carriedOver {
            if let client = clients[id] { ready(client) }
        }
        work.carriedOver.removeAll(keepingCapacity: true)
    }
}
