import TestSupport
import Topology

// What the client sends, and what the nodes do with it.

extension OrderWorld {
    private func anyNode() -> UInt32 { UInt32(random.below(Int(OrderWorld.nodes))) }

    /// Commands to one node.
    func open() {
        let node = anyNode()
        if random.chance(50) { return openRun() }
        let isSilent = random.chance(5)
        for _ in 0..<(1 + random.below(4)) {
            let reply = newReply()
            let place = order.open(slot: UInt16(random.below(9)), on: node, isSilent: isSilent)
            owed[Int(node)].append(
                Owed(place: place, reply: reply, isSilent: isSilent, isPart: false))
            expected.append(isSilent ? [] : reply)
        }
    }

    /// Commands to several nodes.
    private func openRun() {
        let slots = (0...random.below(4)).map { _ in UInt16(random.below(9)) }
        let nodes = slots.map { _ in UInt16(anyNode()) }
        let first = order.open(run: slots.span, on: nodes.span)
        for index in slots.indices {
            let place = first &+ UInt32(index)
            if order.slot(of: place) != slots[index] { return fail("another slot") }
            if order.node(of: place) != UInt32(nodes[index]) { return fail("another node") }
            let reply = newReply()
            owed[Int(nodes[index])].append(
                Owed(place: place, reply: reply, isSilent: false, isPart: false))
            expected.append(reply)
        }
    }

    /// A command that Redpool answers itself.
    func openAnswered() {
        let place = order.openHeld(slot: PlaceSlot.none)
        let reply = newReply()
        expected.append(reply)
        passOn(order.answer(reply.span, for: place), reply[...])
    }

    func openGather() {
        let count = 1 + random.below(5)
        let isSilent = random.chance(10)
        guard let lead = order.openGather(parts: count, isSilent: isSilent) else {
            return fail("no gather")
        }
        gathers[lead] = count
        if isSilent { silentGathers.insert(lead) } else { silentGathers.remove(lead) }
        dropped.remove(lead)
        for part in 0..<UInt32(count) {
            // Not known before the parts are: what the client gets.
            expected.append([])
            let place = lead &+ part
            let reply = newReply()
            parts[place] = reply
            if random.chance(50) {
                let node = anyNode()
                order.sendPart(place, slot: UInt16(random.below(9)), to: node)
                owe(place, reply, false, true, on: node)
            } else {
                held.append(Held(place: place, command: [], isSilent: false, isPart: true))
            }
        }
        for place in lead..<(lead &+ UInt32(count)) where random.chance(80) { send(place) }
    }

    func dropParts() {
        guard let lead = gathers.keys.sorted().first else { return }
        order.dropParts(of: lead &+ UInt32(random.below(gathers[lead] ?? 1)))
        dropped.insert(lead)
    }

    // MARK: Answers

    /// A node sends something of its oldest replies.
    func answerSomething() {
        let node = Int(anyNode())
        guard let first = owed[node].first else { return }
        // What one entry in the queue of the upstream can have.
        var run = 1
        while !first.isLone, run < owed[node].count, !owed[node][run].isLone { run += 1 }
        let most = 1 + random.below(run)
        let whole = random.below(most + 1)
        if whole > 0 {
            takeRun(most, whole: whole, on: node)
        } else if random.chance(50) {
            sendPiece(on: node)
        }
    }

    /// A node sends so many replies of an entry with `most`, and perhaps a piece of the next.
    private func takeRun(_ most: Int, whole: Int, on node: Int) {
        var bytes = Array("rest of the one before".utf8)
        let start = bytes.count
        for one in owed[node][..<whole] { bytes += one.reply[one.sent...] }
        if whole < owed[node].count, random.chance(30) {
            bytes += owed[node][whole].reply.dropLast(1 + random.below(3))
        }
        var left = whole
        if owed[node][0].sent == 0 {
            var room = [UInt8](repeating: 0, count: [0, 40, 4096][random.below(3)])
            let taken = unsafe room.withUnsafeMutableBytes {
                unsafe order.takeRun(
                    bytes.span, from: start, of: owed[node][0].place, most: UInt32(most), into: $0)
            }
            let usual = owed[node][..<whole].prefix { $0.isUsual }
            if usual.count != taken.count { return fail("takes \(taken.count) replies") }
            if taken.end != usual.reduce(start, { $0 + $1.reply.count }) { return fail("ends") }
            owed[node].removeFirst(usual.count)
            left -= usual.count
            if !usual.isEmpty, usual.count < most, taken.place != owed[node][0].place {
                return fail("the next place is \(taken.place), not \(owed[node][0].place)")
            }
            runs += 1
            receive(room[..<taken.ready])
            drain()
        }
        for _ in 0..<left where failure == nil { complete(on: node, isLast: left == 1) }
    }

    private func complete(on node: Int, isLast: Bool) {
        let one = owed[node].removeFirst()
        if !isLast, !one.isLone, let next = owed[node].first, !next.isLone,
            order.nextPlace(after: one.place) != next.place
        {
            return fail("another place follows \(one.place)")
        }
        let bytes = one.reply[one.sent...]
        passOn(order.take(Array(bytes).span, of: one.place, isComplete: true), bytes)
    }

    private func sendPiece(on node: Int) {
        let one = owed[node][0]
        let left = one.reply.count - one.sent
        guard left > 1 else { return }
        let piece = one.reply[one.sent..<(one.sent + 1 + random.below(left - 1))]
        owed[node][0].sent += piece.count
        passOn(order.take(Array(piece).span, of: one.place, isComplete: false), piece)
    }

    // MARK: Redirects

    /// A node refuses its oldest command, perhaps in the middle of a reply.
    func refuse() {
        let node = Int(anyNode())
        guard let one = owed[node].first else { return }
        let hasBegun = one.place == base && got > 0
        if order.canMove(one.place) == hasBegun { return fail("can move: \(!hasBegun)") }
        moves += 1
        if random.chance(50) {
            let other = anyNode()
            if order.move(one.place, to: other) == hasBegun { return fail("moves: \(!hasBegun)") }
            if hasBegun { return }
            owed[node].removeFirst()
            owe(one.place, one.reply, one.isSilent, one.isPart, on: other)
        } else {
            let command = newReply()
            if order.hold(one.place, command: command.span) == hasBegun {
                return fail("holds: \(!hasBegun)")
            }
            if hasBegun { return }
            owed[node].removeFirst()
            if !one.isPart { waiting[one.place] = one.reply }
            held.append(
                Held(
                    place: one.place, command: command, isSilent: one.isSilent,
                    isPart: one.isPart))
        }
    }

    private func owe(
        _ place: UInt32, _ reply: [UInt8], _ isSilent: Bool, _ isPart: Bool, on node: UInt32
    ) {
        owed[Int(node)].append(
            Owed(place: place, reply: reply, isSilent: isSilent, isPart: isPart, isLone: true))
    }

    /// One that is held is sent, or Redpool answers it.
    func release() {
        guard !held.isEmpty else { return }
        let place = held[random.below(held.count)].place
        if random.chance(80) { send(place) } else { answerHeld(place) }
    }

    private func send(_ place: UInt32) {
        guard let index = held.firstIndex(where: { $0.place == place }) else { return }
        let one = held.remove(at: index)
        let node = anyNode()
        scratch.removeAll(keepingCapacity: true)
        guard order.send(place, to: node, into: &scratch), scratch == one.command else {
            return fail("another command of \(scratch.count) bytes")
        }
        let reply = one.isPart ? parts[place] : waiting.removeValue(forKey: place)
        guard let reply else { return fail("an unknown command") }
        owe(place, reply, one.isSilent, one.isPart, on: node)
    }

    private func answerHeld(_ place: UInt32) {
        guard let index = held.firstIndex(where: { $0.place == place }) else { return }
        let one = held.remove(at: index)
        let reply = newReply()
        if one.isPart {
            parts[place] = reply
        } else {
            waiting[place] = nil
            expect(one.isSilent ? [] : reply, of: place)
        }
        passOn(order.answer(reply.span, for: place), reply[...])
    }

    /// The client closes. What comes for it then has no place.
    func leave() {
        order.removeAll()
        if order.memory != 0 || !order.isOver || order.isReady { return fail("keeps something") }
        for one in owed.compactMap(\.first) {
            let bytes = one.reply
            if order.take(bytes.span, of: one.place, isComplete: true) != .mismatch {
                return fail("takes a reply for a client that has left")
            }
        }
        begin()
    }
}
