import RESP
import TestSupport
import Topology

// The nodes of the cluster: they execute commands or refuse them, and their slots move.

extension RedirectWorld {
    /// A node reads a command.
    func serve() {
        let client = random.below(Self.clients)
        let node = random.below(Self.nodes)
        guard !queues[client][node].isEmpty else { return }
        let command = queues[client][node].removeFirst()
        var reply: [UInt8] = []
        if let refusal = refusal(of: command, at: node) {
            Encode.error(refusal, into: &reply)
        } else if command.isQuestion {
            Encode.integer(0, into: &reply)
        } else {
            execute(command)
            if command.isScript, random.chance(30) {
                // It looks like a refusal, and is none.
                Encode.error("MOVED \(command.slot) \(NodeAddress.test(9, 9))", into: &reply)
            } else {
                Encode.integer(Int64(command.number), into: &reply)
            }
        }
        answers[client][node].append((command, reply))
    }

    private func execute(_ command: Command) {
        runs[[command.client, command.number], default: 0] += 1
        if runs[[command.client, command.number]] != 1 { return fail("a command runs twice") }
        for key in command.keys {
            let place = [command.client, command.slot, key]
            if let last = executed[place], last >= command.number {
                return fail("command \(command.number) runs behind \(last)")
            }
            executed[place] = command.number
        }
    }

    private func refusal(of command: Command, at node: Int) -> String? {
        if downUntil[node] > now { return "CLUSTERDOWN The cluster is down" }
        let state = slots[command.slot]
        let here = command.keys.count { state.keyAt[$0] == node }
        if state.owner == node {
            guard let importer = state.importer, here < command.keys.count else { return nil }
            if here > 0 { return "TRYAGAIN Multiple keys request during rehashing of slot" }
            return "ASK \(command.slot) \(NodeAddress.test(1, importer))"
        }
        if state.importer == node, command.asking {
            if here == command.keys.count || command.keys.count == 1 { return nil }
            return "TRYAGAIN Multiple keys request during rehashing of slot"
        }
        return "MOVED \(command.slot) \(NodeAddress.test(1, state.owner))"
    }

    // MARK: Slots

    /// A migration begins, goes on, or ends; or a slot moves as a whole.
    func moveSlot() {
        let slot = random.below(Self.slots)
        if let importer = slots[slot].importer {
            let left = (0..<Self.keys).filter { slots[slot].keyAt[$0] != importer }
            if let key = left.first {
                slots[slot].keyAt[key] = importer
            } else if canTake(slot, importer) {
                slots[slot].owner = importer
                slots[slot].importer = nil
                moves += 1
            }
            return
        }
        let node = random.below(Self.nodes)
        guard node != slots[slot].owner, canTake(slot, node) else { return }
        if random.chance(60) {
            slots[slot].importer = node
        } else {
            slots[slot].owner = node
            slots[slot].keyAt = Array(repeating: node, count: Self.keys)
            moves += 1
        }
    }

    /// Slots do not come back to a node so fast that commands from before, or its refusals, are on
    /// their way: nobody could keep those in order.
    private func canTake(_ slot: Int, _ node: Int) -> Bool {
        for (number, client) in clients.enumerated() {
            let isRefusing = answers[number][node].contains { one in
                one.command.slot == slot && runs[[number, one.command.number]] == nil
            }
            if isRefusing { return false }
            let unread = queues[number][node].filter { $0.slot == slot }
            let numbers = unread.map(\.number)
            guard let latest = numbers.max() else { continue }
            if numbers != numbers.sorted() { return false }
            let isBehind = client.open.values.contains { one in
                one.slot == slot && one.number < latest && runs[[number, one.number]] == nil
                    && !unread.contains { $0.number == one.number }
            }
            if isBehind { return false }
        }
        return true
    }

    /// The proxy's map becomes true for some slots, or older than it was.
    func refreshMap() {
        let old = map
        for slot in 0..<Self.slots where random.chance(50) { map[slot] = slots[slot].owner }
        if random.chance(20) { map[random.below(Self.slots)] = random.below(Self.nodes) }
        if map != old {
            version += 1
            for number in 0..<Self.clients { pump(number) }
        }
    }
}
