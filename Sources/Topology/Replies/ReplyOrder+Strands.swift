// Commands that do not stay where they were sent: one that a node has refused keeps its place and
// goes to another node, at once or later.
//
// Commands of one slot are executed in the order of their places. Behind one that a node refuses,
// it refuses all later ones of that slot, so each follows the one before it: a command goes to a
// node at once only if the one before it, of the same slot, is in flight on that very node, or is
// answered (`mayGo`). Two things have to hold. A slot that has left a node does not come back while
// commands that were sent there before, or refusals of that node, are on their way. And a migration
// is not given up meanwhile.

extension ReplyOrder {
    mutating func joinStrand(_ node: UInt32, _ commands: Int = 1) {
        for index in strands.indices where strands[index].node == node {
            strands[index].open += commands
            return
        }
        strands.append(Strand(node: node, open: commands))
    }

    mutating func leaveStrand(_ node: UInt32, _ replies: Int) {
        for index in strands.indices where strands[index].node == node {
            strands[index].open -= replies
            if strands[index].open <= 0 { strands.remove(at: index) }
            return
        }
    }

    // MARK: What is known of places

    /// Whether the place is there and its reply is not complete.
    package func isUnanswered(_ place: UInt32) -> Bool {
        guard let offset = offset(of: place) else { return false }
        return places[offset].stage != .done
    }

    /// Whether the place's command is to be sent.
    package func isHeld(_ place: UInt32) -> Bool {
        guard let offset = offset(of: place) else { return false }
        return places[offset].stage == .held
    }

    /// The node that the place's command is in flight on.
    package func node(of place: UInt32) -> UInt32? {
        guard let offset = offset(of: place), places[offset].stage == .open else {
            return nil
        }
        return places[offset].node
    }

    /// Whether the client does not get the place's reply.
    package func isSilent(_ place: UInt32) -> Bool {
        guard let offset = offset(of: place) else { return false }
        return places[offset].isSilent
    }

    /// The slot of a place, or one of `PlaceSlot`.
    package func slot(of place: UInt32) -> UInt16 {
        guard let offset = offset(of: place) else { return PlaceSlot.none }
        return places[offset].slot
    }

    /// Whether an answer "not executed" can be undone: the client has got nothing of the reply.
    package func canMove(_ place: UInt32) -> Bool {
        guard let offset = offset(of: place) else { return false }
        return places[offset].stage == .open && !(offset == 0 && hasBegun)
    }

    /// Whether there is a later command for the place's slot. It may have been executed, also if it
    /// is answered and its reply parked, so this one cannot be tried again.
    package func hasLater(than place: UInt32) -> Bool {
        guard let offset = offset(of: place) else { return false }
        let slot = places[offset].slot
        for later in (offset + 1)..<max(count, offset + 1) {
            if isSame(places[later].slot, slot) { return true }
        }
        return false
    }

    /// Whether the place's command can go to a node without being executed before an earlier one
    /// for its slot. `node` is nil for the node that will have the slot.
    package func mayGo(_ place: UInt32, to node: UInt32?) -> Bool {
        guard let offset = offset(of: place) else { return false }
        let slot = places[offset].slot
        var earlier = offset - 1
        while earlier >= 0 {
            if places[earlier].stage != .done, isSame(places[earlier].slot, slot) {
                return places[earlier].stage == .open && places[earlier].node == node
            }
            earlier -= 1
        }
        return true
    }

    private func isSame(_ one: UInt16, _ other: UInt16) -> Bool {
        if one == PlaceSlot.none || other == PlaceSlot.none { return false }
        return one == other || one == PlaceSlot.unknown || other == PlaceSlot.unknown
    }

    // MARK: Commands that move

    /// A node has refused the command, which is sent to another one under the same place. False if
    /// a part of a reply has gone out.
    package mutating func move(_ place: UInt32, to node: UInt32) -> Bool {
        guard canMove(place), let offset = offset(of: place) else { return false }
        leaveStrand(places[offset].node, 1)
        empty(offset)
        places[offset].node = node
        places[offset].isLone = true
        joinStrand(node)
        return true
    }

    /// A node has refused the command, or has provably not received it, and it is sent later. Its
    /// bytes are kept in its place. False if a part of a reply has gone out.
    package mutating func hold(_ place: UInt32, command: Span<UInt8>) -> Bool {
        guard let offset = offset(of: place) else { return false }
        if places[offset].stage == .held {
            empty(offset)
        } else {
            guard canMove(place) else { return false }
            leaveStrand(places[offset].node, 1)
            empty(offset)
            places[offset].stage = .held
            heldCount += 1
        }
        keep(command, in: offset)
        return true
    }

    /// A command that is held is sent to a node: appends its bytes to `command`.
    package mutating func send(
        _ place: UInt32, to node: UInt32, into command: inout [UInt8]
    ) -> Bool {
        guard let offset = offset(of: place) else { return false }
        guard places[offset].stage == .held else { return false }
        moveAll(of: offset, into: &command)
        places[offset].stage = .open
        places[offset].node = node
        places[offset].isLone = true
        heldCount -= 1
        joinStrand(node)
        return true
    }

    /// Redpool answers: a command that is held, one whose node is lost, so that no reply of it
    /// will come, or a gather whose parts have been taken. What is kept for it is dropped.
    package mutating func answer(_ bytes: Span<UInt8>, for place: UInt32) -> ReplyWay {
        guard let offset = offset(of: place) else { return .mismatch }
        if places[offset].stage == .done {
            guard endGather(at: offset) else { return .mismatch }
        } else if places[offset].stage == .held {
            heldCount -= 1
            places[offset].stage = .open
        } else {
            guard canMove(place) else { return .mismatch }
            leaveStrand(places[offset].node, 1)
        }
        empty(offset)
        return put(bytes, at: offset, isComplete: true)
    }
}
