import Pool
import TestSupport
import Topology

// What happens in the world, and what must hold.

extension SentinelWorld {
    // MARK: What happens

    func disturb() {
        switch random.below(100) {
        case ..<70: advance(Int64(random.below(Int(Int64.milliseconds(400)))))
        case ..<76: failOver()
        case ..<84: changeReach()
        case ..<88: isHonest ? advance(.milliseconds(50)) : lie()
        case ..<90: isHonest ? advance(.milliseconds(50)) : makeAnew()
        case ..<94: complain()
        case ..<96: spuriousMessage()
        case ..<97: isHonest ? advance(.milliseconds(50)) : reconfigure()
        default: advance(Int64(random.below(Int(Int64.seconds(15)))))
        }
    }

    /// A server is promoted; the leader knows at once, others later, some never before peace. The
    /// old primary goes on saying that it is one.
    private func failOver() {
        let old = truth.address
        let others = servers.filter { $0.address != old && $0.reach == .open }
        guard !others.isEmpty else { return }
        failovers += 1
        let new = others[random.below(others.count)].address
        history.append(PrimaryClaim(address: new, epoch: truth.epoch + 1 + Int64(random.below(2))))
        for index in servers.indices where servers[index].address == new {
            servers[index].isPrimary = true
        }
        let leader = random.below(sentinels.count)
        let slow = isHonest ? (sentinels.count - 1) / 2 : sentinels.count
        for index in sentinels.indices where index == leader || index >= slow || random.chance(70) {
            let event = Event.learn(sentinel: index, view: history.count - 1)
            later(event, by: index == leader ? 1 : .milliseconds(150))
        }
        if random.chance(60) { later(.demote(old), by: .seconds(12)) }
    }

    private func changeReach() {
        let reach = [Reach.open, .open, .refused, .silent][random.below(4)]
        if random.chance(60) {
            let index = random.below(sentinels.count)
            sentinels[index].reach = reach
            if reach == .refused { cutLinks(to: sentinels[index].address) }
        } else {
            let index = random.below(servers.count)
            servers[index].reach = reach
            if reach != .open, tracker.primary?.address == servers[index].address {
                let address = servers[index].address
                call("lost \(address.port)") { $0.doubt(address, now: $1) }
            }
        }
    }

    private func cutLinks(to address: NodeAddress) {
        for (id, link) in links where link.address == address {
            links[id] = nil
            call("disconnected \(id.raw)") { $0.disconnected(id, now: $1) }
        }
    }

    /// A minority says anything: an old address with a high epoch, an address of nobody, nothing.
    private func lie() {
        for index in sentinels.indices { sentinels[index].lie = nil }
        for index in sentinels.indices.dropFirst().prefix(random.below((sentinels.count + 1) / 2)) {
            let address =
                random.chance(70)
                ? servers[random.below(servers.count)].address : .test(3, 9)
            let claim = PrimaryClaim(
                address: address, epoch: max(0, truth.epoch - 2 + Int64(random.below(60))))
            sentinels[index].lie = random.chance(20) ? .nothing : .claim(claim)
        }
    }

    /// All Sentinels are told of the primary anew and begin with a low epoch.
    private func makeAnew() {
        history.append(PrimaryClaim(address: truth.address, epoch: 0))
        for index in sentinels.indices {
            sentinels[index].view = history.count - 1
            sentinels[index].namesNobody = random.chance(50)
            later(.message(sentinels[index].address, .changed))
        }
    }

    private func complain() {
        guard let primary = tracker.primary else { return }
        if random.chance(50) {
            call("doubt \(primary.address.port)") { $0.doubt(primary.address, now: $1) }
        } else {
            later(.role(primary.address))
        }
    }

    private func spuriousMessage() {
        let address = sentinels[random.below(sentinels.count)].address
        for _ in 0..<(1 + random.below(4)) {
            later(.message(address, random.chance(50) ? .switched : .changed))
        }
    }

    private func reconfigure() {
        let rest = sentinels.map(\.address).filter { _ in random.chance(50) }
        configured = [sentinels[0].address] + rest.filter { $0 != sentinels[0].address }
        let addresses = configured
        call("setSentinels") { $0.setSentinels(addresses, now: $1) }
    }

    // MARK: What must hold

    /// Everything can be reached, all Sentinels know the truth but those that lie; servers that are
    /// primary no longer may still say that they are. Then the tracker finds the primary, and asks
    /// seldom afterwards.
    func makePeace() {
        for index in sentinels.indices {
            sentinels[index].reach = .open
            sentinels[index].namesNobody = false
            later(.learn(sentinel: index, view: history.count - 1), by: .milliseconds(500))
            later(.message(sentinels[index].address, .changed), by: .milliseconds(500))
        }
        for index in servers.indices {
            servers[index].reach = .open
            if servers[index].address == truth.address { servers[index].isPrimary = true }
        }
        advance(.seconds(20))
        guard failure == nil else { return }
        if tracker.primary?.address != truth.address {
            return fail("has not found \(truth), but \(tracker.primary as Any)")
        }
        if !tracker.isVerified { return fail("has not verified the primary") }
        if tracker.known.count > max(SentinelTracker.mostSentinels, configured.count) {
            return fail("watches too many: \(tracker.known)")
        }
        if !tracker.isSettled { return fail("is not settled") }
        let before = asks
        advance(.seconds(40))
        if asks - before > 8 { fail("asks too often: \(asks - before)") }
    }

    func check(before: PrimaryClaim?) {
        guard let after = tracker.primary, failure == nil else { return }
        if adopted?.address != after.address { fail("\(after) without adopt") }
        if tracker.isVerified, roles[after.address]?.0 != .primary { fail("verified by nobody") }
        if tracker.isVerified, used != after.address { fail("\(after) is verified and not used") }
        if isHonest, let before, after.epoch < before.epoch {
            fail("the epoch goes back from \(before.epoch) to \(after.epoch)")
        }
        if isHonest, !history.contains(after) { fail("\(after) was never true") }
        if adopted != after || before != after { decidedAt = now }
        adopted = after
    }

    /// The claim was made, and it has what it needs to be believed.
    func checkAdoption(_ claim: PrimaryClaim) {
        if let old = adopted, old.address == claim.address {
            if used != nil { return fail("adopts what it has") }
            if roles[claim.address]?.0 != .primary { fail("takes \(claim) back unproven") }
            used = claim.address
            return
        }
        adoptions += 1
        let known = links.values.filter { $0.hasAnswered || configured.contains($0.address) }
        let making = links.values.filter { $0.claim == claim }
        if making.isEmpty { return fail("adopts \(claim), which nobody claims") }
        if let old = adopted {
            if !left.contains(old.address) { return fail("does not leave \(old)") }
            let settled = making.filter { $0.last - max($0.since, decidedAt) >= .seconds(1) }
            let proof = roles[claim.address]?.0 == .primary
            if claim.epoch > old.epoch {
                if !proof, making.count * 2 <= known.count { fail("\(claim) without a proof") }
            } else if settled.count * 2 <= known.count {
                overrules += 1
                let isRefuted = roles[old.address].map { $0.0 != .primary } ?? true
                if claim.epoch < old.epoch || !proof || !isRefuted {
                    fail("\(claim) is not settled after \(old)")
                }
            } else {
                overrules += 1
            }
        }
        left.remove(claim.address)
        adopted = claim
        used = claim.address
    }
}
