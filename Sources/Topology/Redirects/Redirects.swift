// What becomes of commands that nodes have refused. Each refusal is an answer "not executed", so
// the command can be sent again: to another node, or later. The order of one client's commands for
// a slot stays: see ReplyOrder+Strands.swift.

package import Pool

/// The refused commands of one client, beside its `ReplyOrder`. It ends with that.
///
/// `now` never goes back between calls.
package struct Redirects: ~Copyable {
    /// The most redirects of a command in a row.
    package static let mostInARow = 5
    /// So many of them are followed at once, the others after pauses: two nodes that name each
    /// other may take a while to agree.
    private static let mostAtOnce = 2
    /// TRYAGAIN: the first pause and the longest one; each is twice the one before it.
    package static let shortestPause = Int64.milliseconds(10)
    package static let longestPause = Int64.milliseconds(320)
    /// CLUSTERDOWN: the pause, unless there is another map before.
    package static let downPause = Int64.milliseconds(50)

    /// What is known of one of them, also while it is in flight again.
    private struct Refused {
        let place: UInt32
        /// When it is not tried again any more.
        let deadline: MonotonicTime
        /// MOVED and ASK since another answer.
        var redirects = 0
        /// TRYAGAINs.
        var pauses = 0
        /// It has been sent to the primary because a replica could not answer.
        var hasLeftReplica = false
        /// Where it goes; nil for the slot's owner.
        var node: UInt32?
        var asking = false
        /// When it can be sent again.
        var at = MonotonicTime(nanoseconds: 0)
        /// It can be sent earlier, under another map than this one.
        var version: UInt64?
    }

    /// In the order of places. Those at the beginning may be answered.
    private var refused: [Refused] = []
    private let patience: Int64

    /// - Parameter patience: how long a command is tried again, in nanoseconds: `poolTimeout`.
    package init(patience: Int64) {
        self.patience = max(patience, 0)
    }

    /// A node has refused a command. Says what is to be done now.
    ///
    /// - Parameters:
    ///   - command: which one, and what is known of it.
    ///   - node: for MOVED and ASK the node that the refusal names, nil if there is no room for
    ///     another one; for the other refusals the slot's owner by the present map, nil if nobody
    ///     has it.
    ///   - version: of the present map.
    package mutating func judge(
        _ refusal: NodeRefusal, of command: RefusedCommand, to node: UInt32?,
        in order: borrowing ReplyOrder, version: UInt64, now: MonotonicTime
    ) -> RedirectAction {
        let place = command.place
        let canBeSent = command.canBeSent && (order.canMove(place) || order.isHeld(place))
        if command.mayMakeUpErrors, !command.isConfirmed, refusal != .notReceived {
            let asking = entry(of: place, in: order, now).asking
            return canBeSent ? .confirm(asking: asking) : .relay
        }
        switch refusal {
        case .moved(let slot, let address), .ask(let slot, let address):
            let known = order.slot(of: place)
            guard known == slot || known == PlaceSlot.unknown else { return .relay }
            guard canBeSent else { return .answer(.notKept(slot: slot)) }
            var entry = entry(of: place, in: order, now)
            guard entry.redirects < Redirects.mostInARow else {
                return .answer(.keepsMoving(slot: slot))
            }
            guard let node else { return .answer(.tooManyNodes(slot: slot, address)) }
            entry.redirects += 1
            if case .ask = refusal { entry.asking = true } else { entry.asking = false }
            let pause = Redirects.pause(behind: entry.redirects)
            return send(&entry, to: node, in: order, at: now + pause, now)
        case .tryAgain:
            guard canBeSent else { return .relay }
            return pause(command, node: order.node(of: place), in: order, now)
        case .clusterDown:
            guard canBeSent else { return .relay }
            return pause(command, under: version, in: order, now)
        case .notServing:
            var entry = entry(of: place, in: order, now)
            guard canBeSent, command.isByReplica, !entry.hasLeftReplica, let node else {
                return .relay
            }
            entry.hasLeftReplica = true
            entry.asking = false
            return send(&entry, to: node, in: order, at: now, now)
        case .notReceived:
            var entry = entry(of: place, in: order, now)
            guard canBeSent, now < entry.deadline else { return .relay }
            entry.asking = false
            if let node { return send(&entry, to: node, in: order, at: now, now) }
            entry.node = nil
            entry.at = now + Redirects.downPause
            entry.version = version
            store(entry, in: order)
            return .hold
        }
    }

    /// The next command after `last` that can be sent now; from the first one on if that is nil. To
    /// be asked whenever one of the client's commands has been answered or sent, when there is
    /// another map, and at `nextDeadline`. It is given until `ReplyOrder.send` or `answer` is
    /// called for it.
    package func next(
        after last: UInt32? = nil, in order: borrowing ReplyOrder, version: UInt64,
        now: MonotonicTime
    ) -> HeldCommand? {
        guard order.heldCount > 0 else { return nil }
        let start = last.map { index(of: $0 &+ 1, in: order) } ?? 0
        for entry in refused[start...] where order.isHeld(entry.place) {
            let isDue = entry.at <= now || (entry.version.map { $0 != version } ?? false)
            if isDue, order.mayGo(entry.place, to: entry.node) {
                return HeldCommand(
                    place: entry.place, node: entry.node, asking: entry.asking)
            }
        }
        return nil
    }

    /// When a pause ends next; nil if there is none.
    package func nextDeadline(
        in order: borrowing ReplyOrder, now: MonotonicTime
    ) -> MonotonicTime? {
        guard order.heldCount > 0 else { return nil }
        var next: MonotonicTime?
        for entry in refused where entry.at > now && order.isHeld(entry.place) {
            next = min(next ?? entry.at, entry.at)
        }
        return next
    }

    /// The pause before a command follows so many MOVED and ASK in a row.
    package static func pause(behind redirects: Int) -> Int64 {
        redirects <= mostAtOnce ? 0 : shortestPause << Int64(min(redirects - mostAtOnce - 1, 5))
    }

    // MARK: Entries

    private mutating func send(
        _ entry: inout Refused, to node: UInt32, in order: borrowing ReplyOrder,
        at time: MonotonicTime, _ now: MonotonicTime
    ) -> RedirectAction {
        entry.node = node
        entry.version = nil
        entry.at = time
        store(entry, in: order)
        guard time <= now, order.canMove(entry.place), order.mayGo(entry.place, to: node) else {
            return .hold
        }
        return .send(to: node, asking: entry.asking)
    }

    /// The same node again after a pause; or, with `version`, the slot's owner then, earlier if
    /// there is another map.
    private mutating func pause(
        _ command: RefusedCommand, node: UInt32? = nil, under version: UInt64? = nil,
        in order: borrowing ReplyOrder, _ now: MonotonicTime
    ) -> RedirectAction {
        guard order.slot(of: command.place) != PlaceSlot.none, !order.hasLater(than: command.place)
        else { return .relay }
        var entry = entry(of: command.place, in: order, now)
        var pause = Redirects.downPause
        if version == nil {
            let doubled = Redirects.shortestPause << Int64(min(entry.pauses, 5))
            pause = min(doubled, Redirects.longestPause)
            entry.pauses += 1
        } else {
            entry.asking = false
        }
        guard now + pause <= entry.deadline else { return .relay }
        entry.redirects = 0
        entry.node = node
        entry.at = now + pause
        entry.version = version
        store(entry, in: order)
        return .hold
    }

    private func entry(
        of place: UInt32, in order: borrowing ReplyOrder, _ now: MonotonicTime
    ) -> Refused {
        let index = index(of: place, in: order)
        if index < refused.count, refused[index].place == place { return refused[index] }
        return Refused(place: place, deadline: now + patience)
    }

    private mutating func store(_ entry: Refused, in order: borrowing ReplyOrder) {
        let answered = index(of: order.first, in: order)
        if 2 * answered > refused.count { refused.removeFirst(answered) }
        let index = index(of: entry.place, in: order)
        if index < refused.count, refused[index].place == entry.place {
            refused[index] = entry
        } else {
            refused.insert(entry, at: index)
        }
    }

    /// Where an entry is, or would be. Places before the first one of the order are answered.
    private func index(of place: UInt32, in order: borrowing ReplyOrder) -> Int {
        var low = 0
        var high = refused.count
        let wanted = Int32(bitPattern: place &- order.first)
        while low < high {
            let middle = (low + high) / 2
            if Int32(bitPattern: refused[middle].place &- order.first) < wanted {
                low = middle + 1
            } else {
                high = middle
            }
        }
        return low
    }
}
