import Pool
import RESP
import TestSupport
import Topology

// What happens in the cluster, and what must hold.

extension ClusterWorld {
    func disturb() {
        switch random.below(100) {
        case ..<35: gossip()
        case ..<45: advance(Int64(random.below(Int(Int64.milliseconds(300)))))
        case ..<75: sendCommand()
        case ..<82: moveSlots()
        case ..<85: failOver()
        case ..<89: servers[random.below(servers.count)].isCutOff = random.chance(50)
        case ..<92: revive()
        case ..<94: lieAboutMove()
        case ..<96: call("cluster down") { $0.clusterDown(now: $1) }
        default: advance(Int64(random.below(Int(Int64.seconds(20)))))
        }
    }

    /// Two nodes tell each other what they know; the higher epoch wins.
    private func gossip() {
        let one = random.below(servers.count)
        let other = random.below(servers.count)
        guard one != other, !servers[one].isCutOff, !servers[other].isCutOff,
            servers[one].isAlive, servers[other].isAlive
        else { return }
        learn(one, from: other)
        learn(other, from: one)
    }

    private func learn(_ one: Int, from other: Int) {
        for group in 0..<Self.groups
        where servers[other].views[group].epoch > servers[one].views[group].epoch {
            servers[one].views[group] = servers[other].views[group]
        }
        for number in servers.indices {
            servers[one].epochs[number] = max(
                servers[one].epochs[number], servers[other].epochs[number])
        }
    }

    /// The owner of one slot that a client uses answers, or somebody who is not the owner says who
    /// is.
    func sendCommand() {
        let group = random.below(Self.groups)
        guard let map, var number = owner(group, map) else { return }
        for _ in 0..<5 {
            guard failure == nil else { return }
            let server = servers[number]
            guard server.isAlive else {
                call("lost \(server.address.port)") { $0.lost(server.address, now: $1) }
                return
            }
            let owner = server.views[group].owner
            if owner == number { return }
            redirects += 1
            redirect(group, to: owner)
            number = owner
        }
    }

    private func redirect(_ group: Int, to number: Int) {
        let address = servers[number].address
        redirected.insert(group)
        for offset in [0, 1, Self.groupSize - 1] {
            let slot = UInt16(group * Self.groupSize + offset)
            call("moved \(slot) to \(address.port)") { $0.moved(slot, to: address, now: $1) }
            guard failure == nil else { return }
            if self.map.map({ $0.owner(of: slot)?.address == address }) != true {
                fail("does not follow MOVED")
            }
        }
    }

    /// A group gets another owner, whose epoch rises. Both know, the others hear of it.
    private func moveSlots() {
        let group = random.below(Self.groups)
        let old = truth[group].owner
        let new = random.below(servers.count)
        guard new != old, servers[old].isAlive, servers[new].isAlive, !servers[old].isCutOff,
            !servers[new].isCutOff, highestEpoch > 0
        else { return }
        moves += 1
        take([group], by: new)
        learn(old, from: new)
    }

    private func take(_ groups: [Int], by new: Int) {
        let epoch = highestEpoch + 1
        servers[new].epochs[new] = epoch
        for group in 0..<Self.groups
        where groups.contains(group) || servers[new].views[group].owner == new {
            servers[new].views[group] = View(owner: new, epoch: epoch)
            if histories[group].last != new { histories[group].append(new) }
        }
    }

    /// A primary dies; another node of those that see each other takes its slots.
    private func failOver() {
        let old = random.below(servers.count)
        let groups = (0..<Self.groups).filter { truth[$0].owner == old }
        let heirs = servers.indices.filter {
            $0 != old && servers[$0].isAlive && !servers[$0].isCutOff
        }
        guard heirs.count > 1, highestEpoch > 0 else { return }
        failovers += 1
        servers[old].isAlive = false
        let new = heirs[random.below(heirs.count)]
        for heir in heirs { learn(new, from: heir) }
        take(groups, by: new)
    }

    private func revive() {
        for number in servers.indices where random.chance(50) { servers[number].isAlive = true }
    }

    /// A node that is long out of date answers a client.
    private func lieAboutMove() {
        guard !isCalm, map != nil else { return }
        let address =
            random.chance(70) ? servers[random.below(servers.count)].address : .test(3, 1)
        let slot = UInt16(random.below(Slot.count))
        call("false moved \(slot) to \(address.port)") { $0.moved(slot, to: address, now: $1) }
    }

    // MARK: What must hold

    /// In calm runs no answer takes a group back to an owner that it had before the present one,
    /// but for what MOVED alone has said.
    func checkOrder(_ before: [Int?]?) {
        guard isCalm, let before, let map, failure == nil else { return }
        for group in 0..<Self.groups where !redirected.contains(group) {
            guard let old = before[group], let new = owner(group, map), old != new else { continue }
            let last = histories[group].lastIndex(of: new) ?? -1
            let first = histories[group].firstIndex(of: old) ?? 0
            if last < first { fail("group \(group) goes back from \(old) to \(new)") }
        }
    }

    /// All nodes see each other again. Then the map becomes true, by the clients' MOVED and by
    /// answers, and questions become rare.
    func makePeace() {
        for number in servers.indices {
            servers[number].isAlive = true
            servers[number].isCutOff = false
        }
        for _ in 0..<2 {
            for one in servers.indices { for other in servers.indices { learn(one, from: other) } }
        }
        for server in servers {
            call("connected \(server.address.port)") { $0.connected(server.address, now: $1) }
        }
        advance(.seconds(40))
        guard failure == nil, let map else { return fail("no map") }
        let truth = truth
        for slot in 0..<UInt16(Slot.count) {
            let wanted = servers[truth[Int(slot) / Self.groupSize].owner].address
            if map.owner(of: slot)?.address != wanted { return fail("slot \(slot) is elsewhere") }
        }
        redirected = []
        if map.nodes.count != servers.count { return fail("nodes: \(map.nodes.map(\.address))") }
        let before = (asks, map.version)
        advance(.seconds(60))
        if asks - before.0 > 6 { fail("asks too often: \(asks - before.0)") }
        if self.map?.version != before.1 { fail("another version, and nothing has changed") }
    }
}
