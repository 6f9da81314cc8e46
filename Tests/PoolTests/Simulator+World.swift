import Pool

// What clients and the server do, at random.

extension Simulator {
    // MARK: Clients

    func clientStep() {
        let client = random.below(clients.count)
        switch clients[client] {
        case .free:
            switch random.below(100) {
            case ..<3: pinThisOne(client)
            case ..<4: leaseToRelease(client, key: randomKey())
            default: lease(client)
            }
        case .waiting(let serial):
            if random.chance(6) { cancel(serial) }
        case .sharing(let slot, let count):
            if random.chance(4) {
                vanish(client, from: slot)
            } else if random.chance(20), count < 20 {
                addCommand(client, slot: slot, count: count)
            }
        case .holding(let slot):
            if random.chance(30) { endExclusive(slot) }
        }
    }

    private func randomKind() -> LeaseKind {
        switch random.below(100) {
        case ..<55: .shared
        case ..<70: .slow
        case ..<93: .pin
        default: .control
        }
    }

    private func randomKey() -> Int {
        random.chance(60) ? 0 : random.below(Self.keys.count)
    }

    private func lease(_ client: Int) {
        lease(client, randomKind(), key: randomKey())
    }

    func lease(_ client: Int, _ kind: LeaseKind, key: Int) {
        guard failure == nil else { return }
        begin("lease")
        serial += 1
        leases += 1
        let outcome = pool.lease(
            kind, key: Self.keys[key], for: WaiterID(raw: serial), now: now)
        switch outcome {
        case .granted(let id):
            if !isBehind, !queues[kind.modelIndex * Self.keys.count + key].isEmpty {
                fail("a newcomer overtook waiters of its kind and key")
            }
            if !isBehind, kind == .shared { checkLane(id, key: key) }
            if isHalted { fail("granted at once in a halted pool") }
            accept(id, kind: kind, key: key, client: client)
        case .queued(let ticket):
            enqueue(client, kind, key: key, ticket)
        case .refused(let refusal):
            if !isBehind { checkImmediate(refusal, kind: kind) }
        }
        finishCall()
    }

    func enqueue(_ client: Int, _ kind: LeaseKind, key: Int, _ ticket: WaitTicket) {
        waits[serial] = Wait(client: client, kind: kind, key: key, since: now, ticket: ticket)
        queues[kind.modelIndex * Self.keys.count + key].append(serial)
        clients[client] = .waiting(serial: serial)
    }

    private func cancel(_ serial: UInt64) {
        guard let wait = waits[serial] else { return }
        forget(serial)
        call("cancel") { $0.cancel(wait.ticket) }
        if random.chance(10) { call("stale cancel") { $0.cancel(wait.ticket) } }
    }

    /// Takes a waiter out of the model.
    func forget(_ serial: UInt64) {
        guard let wait = waits.removeValue(forKey: serial) else { return }
        if releaser == serial { releaser = nil }
        queues[wait.kind.modelIndex * Self.keys.count + wait.key].removeAll { $0 == serial }
        clients[wait.client] = .free
    }

    /// WAIT: the client pins the upstream that it last had, if that is possible.
    private func pinThisOne(_ client: Int) {
        guard failure == nil, !upstreams.isEmpty else { return }
        catchUp()
        let slot = random.below(upstreams.count)
        guard let upstream = upstreams[slot] else { return }
        begin("pin")
        if pool.pin(upstream.id) {
            let isIdle = upstream.phase == .idle
            let isEmptied =
                upstream.phase == .shared && upstream.inFlight.isEmpty && !upstream.isRetiring
            if !isIdle && !isEmptied { fail("pinned what is in use") }
            if isHalted { fail("pinned in a halted pool") }
            upstreams[slot]!.phase = .pinned
            upstreams[slot]!.isAvailable = true
            upstreams[slot]!.holder = client
            clients[client] = .holding(slot: slot)
        }
        finishCall()
    }

    private func addCommand(_ client: Int, slot: Int, count: Int) {
        guard let upstream = upstreams[slot] else { return fail("sharing a lost upstream") }
        let kind = random.chance(15) ? LeaseKind.slow : .shared
        upstreams[slot]!.inFlight.append(client)
        clients[client] = .sharing(slot: slot, count: count + 1)
        if kind == .slow { noteSlow(slot) }
        call("add") { $0.add(upstream.id, kind) }
    }

    private func vanish(_ client: Int, from slot: Int) {
        for index in upstreams[slot]!.inFlight.indices
        where upstreams[slot]!.inFlight[index] == client {
            upstreams[slot]!.inFlight[index] = Self.nobody
        }
        clients[client] = .free
    }

    private func endExclusive(_ slot: Int) {
        guard let upstream = upstreams[slot] else { return fail("holding a lost upstream") }
        if random.chance(12) {
            retire(slot, random.chance(50) ? .dirty : .clientGone)
            return
        }
        if random.chance(15) {
            let key = random.below(Self.keys.count)
            upstreams[slot]!.key = key
            call("rekey") { $0.rekey(upstream.id, to: Self.keys[key]) }
        }
        release(slot, key: random.chance(80) ? upstreams[slot]!.key : randomKey())
    }

    func release(_ slot: Int, key: Int) {
        guard let upstream = upstreams[slot], upstream.holder != Self.nobody else { return }
        clients[upstream.holder] = .free
        upstreams[slot]!.holder = Self.nobody
        upstreams[slot]!.phase = .idle
        upstreams[slot]!.key = key
        call("release") { $0.release(upstream.id, key: Self.keys[key], now: now) }
    }

    // MARK: The server

    func serverStep() {
        guard !upstreams.isEmpty else { return advance(1_000_000) }
        let slot = random.below(upstreams.count)
        guard let upstream = upstreams[slot] else { return }
        switch upstream.phase {
        case .dialing: answerDial(slot, succeeds: isServerUp && random.chance(92))
        case .converting: random.chance(94) ? converted(slot) : lose(slot, .conversionFailed)
        case .probing:
            if random.chance(80) { random.chance(90) ? probed(slot) : lose(slot, .upstreamReset) }
        case .idle: if random.chance(2) { lose(slot, .upstreamClosed) }
        case .shared: sharedStep(slot)
        case .pinned, .control: if random.chance(2) { lose(slot, .upstreamReset) }
        case .closing: if random.chance(70) { closed(slot) }
        }
    }

    private func sharedStep(_ slot: Int) {
        switch random.below(100) {
        case ..<1: lose(slot, .upstreamReset)
        case ..<2: retire(slot, .failoverSign)
        case ..<6: setAvailable(slot, !upstreams[slot]!.isAvailable)
        case ..<12: setFenced(slot, !upstreams[slot]!.isFenced)
        case ..<14: setMost(slot, random.chance(50) ? .max : Int32(1 + random.below(8)))
        default: reply(slot)
        }
    }

    func reply(_ slot: Int) {
        guard let upstream = upstreams[slot], !upstream.inFlight.isEmpty else { return }
        let client = upstreams[slot]!.inFlight.removeFirst()
        if client != Self.nobody, case .sharing(_, let count) = clients[client] {
            clients[client] = count > 1 ? .sharing(slot: slot, count: count - 1) : .free
        }
        call("finish") { $0.finish(upstream.id, now: now) }
        if upstreams[slot]?.inFlight.isEmpty == true { toSettle.append(upstream.id) }
    }

    func setAvailable(_ slot: Int, _ isAvailable: Bool) {
        // This call has no `now`: whichever one before it tells the pool the time.
        call("settle nobody") { $0.settle(up(.max), now: now) }
        guard let upstream = upstreams[slot], upstream.isAvailable != isAvailable else { return }
        upstreams[slot]!.isAvailable = isAvailable
        if isAvailable { settled(slot) }
        call("setAvailable") { $0.setAvailable(upstream.id, isAvailable) }
    }

    func setMost(_ slot: Int, _ most: Int32) {
        guard let upstream = upstreams[slot] else { return }
        upstreams[slot]!.most = most
        call("setMost") { $0.setMost(upstream.id, most) }
    }

    func setFenced(_ slot: Int, _ isFenced: Bool) {
        guard let upstream = upstreams[slot], upstream.isFenced != isFenced else { return }
        // One that retires with nothing in flight is closing; the action that says so may be due.
        if isFenced, upstream.isRetiring, upstream.inFlight.isEmpty { return }
        upstreams[slot]!.isFenced = isFenced
        if isFenced {
            call("addFence") { if !$0.addFence(upstream.id) { fail("no fence on a shared one") } }
        } else {
            call("finishFence") { $0.finishFence(upstream.id) }
            if upstream.inFlight.isEmpty { toSettle.append(upstream.id) }
        }
    }

    func answerDial(_ slot: Int, succeeds: Bool) {
        guard let upstream = upstreams[slot] else { return }
        if upstream.phase == .dialing { hasDialFailed = !succeeds }
        if succeeds {
            upstreams[slot]!.phase = .idle
            let key = otherwise(upstream.key)
            upstreams[slot]!.key = key ?? upstream.key
            call("connected") {
                $0.connected(upstream.id, as: key.map { Self.keys[$0] }, now: now)
            }
        } else {
            bury(slot)
            call("connectFailed") { $0.connectFailed(upstream.id, .connectFailed, now: now) }
        }
    }

    func converted(_ slot: Int) {
        guard let upstream = upstreams[slot] else { return }
        upstreams[slot]!.phase = .idle
        let key = otherwise(upstream.key)
        upstreams[slot]!.key = key ?? upstream.key
        call("converted") { $0.converted(upstream.id, as: key.map { Self.keys[$0] }, now: now) }
    }

    /// Now and then the server does not let an upstream into the database that was wanted.
    private func otherwise(_ key: Int) -> Int? {
        let (wanted, other) = (Self.keys[key], random.below(Self.keys.count))
        let isPossible = Self.keys[other].user == wanted.user
        return isPossible && random.chance(5) ? other : nil
    }

    func probed(_ slot: Int) {
        guard let upstream = upstreams[slot] else { return }
        upstreams[slot]!.phase = .idle
        call("probed") { $0.probed(upstream.id, now: now) }
    }

    func closed(_ slot: Int) {
        guard let upstream = upstreams[slot] else { return }
        bury(slot)
        call("closed") { $0.closed(upstream.id, now: now) }
    }

    private func lose(_ slot: Int, _ reason: CloseReason) {
        guard let upstream = upstreams[slot] else { return }
        if upstream.phase == .dialing { hasDialFailed = true }
        bury(slot)
        call("lost") { $0.lost(upstream.id, reason, now: now) }
    }

    private func retire(_ slot: Int, _ reason: CloseReason) {
        guard let upstream = upstreams[slot] else { return }
        upstreams[slot]!.isRetiring = true
        haltRetires.removeAll { $0 == upstream.id }
        retired.append(upstream.id)
        call("retire") { $0.retire(upstream.id, reason, now: now) }
    }

    // MARK: Rare things

    func rareStep() {
        switch random.below(20) {
        case ..<4: isServerUp.toggle()
        case ..<6: restartServer()
        case ..<8: changeLimits()
        case ..<9: call("setPingInterval") { $0.setPingInterval(.milliseconds(500)) }
        // A halt ends sooner than the next begins.
        case ..<10: toggleHalt()
        case ..<13 where isHalted: toggleHalt()
        case ..<11: replaceAll()
        case ..<13:
            let slot = random.below(max(upstreams.count, 1))
            if slot < upstreams.count, upstreams[slot] != nil { retire(slot, .addressChanged) }
        default: staleEvents()
        }
    }

    private func restartServer() {
        for slot in upstreams.indices {
            guard let upstream = upstreams[slot], upstream.phase != .dialing else { continue }
            lose(slot, .upstreamClosed)
        }
    }

    private func changeLimits() {
        catchUp()
        let open = upstreams.reduce(0) { $0 + ($1 == nil ? 0 : 1) }
        limits = Self.randomLimits(&random)
        hasLifetimes = hasLifetimes || limits.maxLifetime > 0
        openCeiling = max(limits.maxOpen, open)
        pinCeiling = max(limits.maxPinned, count(.pinned))
        call("setLimits") { $0.setLimits(limits, now: now) }
    }

    private func staleEvents() {
        guard !graveyard.isEmpty else { return }
        let id = graveyard[random.below(graveyard.count)]
        call("stale finish") { $0.finish(id, now: now) }
        call("stale settle") { $0.settle(id, now: now) }
        call("stale fence") { if $0.addFence(id) { fail("a fence on one that is gone") } }
        call("stale finishFence") { $0.finishFence(id) }
        call("stale release") { $0.release(id, key: db0, now: now) }
        call("stale connected") { $0.connected(id, now: now) }
        call("stale closed") { $0.closed(id, now: now) }
        call("stale lost") { $0.lost(id, .upstreamReset, now: now) }
    }
}

extension LeaseKind {
    /// Place in `allCases`.
    var modelIndex: Int { Int(rawValue) }
}
