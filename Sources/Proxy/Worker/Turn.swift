// One client's turn in an iteration of the loop: how much of its input is handled before the others
// have had theirs. Bytes alone do not say what that costs: 64 KB are 32,000 blank lines.

/// What is left of a turn.
struct Turn {
    /// In commands that have come as arrays.
    private var left = Turn.commands

    /// A pipeline of commands of 16 bytes is over with what is read at a time.
    private static let commands = 4096
    /// What a line costs, in such commands: it is split into words and made an array.
    static let line = 32
    /// What a command costs that is not simply sent, or answered by us: it and its reply are looked
    /// at more closely.
    static let special = 64
    /// What any other command costs on a held upstream.
    static let held = 4
    /// What a blank line costs, or an empty array.
    static let blank = 4

    /// True when what begins at `position` has to wait for the next turn; else that is begun.
    @inline(__always)
    mutating func isOver(at position: Int) -> Bool {
        left &-= 1
        return left < 0 || position >= ClientConnection.inputLimit
    }

    /// `cost` commands were handled as one.
    mutating func spend(_ cost: Int) { left &-= cost &- 1 }
}

extension Worker {
    /// Has a client go on in the next iteration, in which others come first.
    func carryOver(_ client: ClientConnection) {
        guard client.lists.insert(.carriedOver).inserted else { return }
        work.carriedOver.append(client)
    }

    /// Called before an iteration: those whose turn ended in the last one go on at the end of it.
    func readyCarriedOver() {
        for index in 0..<work.carriedOver.count { ready(work.carriedOver[index]) }
        work.carriedOver.removeAll()
    }
}
