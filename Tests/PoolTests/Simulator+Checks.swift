import Pool

// The model: what the pool's actions mean, and what must hold whatever the pool believes.

extension Simulator {
    // MARK: Actions

    func perform(_ action: PoolAction) {
        switch action {
        case .dial(let id, let key): beginDial(id, key)
        case .convert(let id, let from, let to):
            guard let slot = known(id) else { return }
            guard upstreams[slot]!.phase == .idle, !isHalted else {
                return fail("converts what is not idle")
            }
            guard Self.keys[upstreams[slot]!.key] == from, from.user == to.user, from != to else {
                return fail("converts from or to a wrong key")
            }
            upstreams[slot]!.phase = .converting
            upstreams[slot]!.key = Self.keys.firstIndex(of: to)!
        case .probe(let id):
            guard let slot = known(id) else { return }
            guard upstreams[slot]!.phase == .idle, !isHalted else {
                return fail("probes what is not idle")
            }
            upstreams[slot]!.phase = .probing
        case .close(let id, let reason): beginClose(id, reason)
        case .grant(let waiter, let id):
            guard let wait = waits[waiter.raw] else { return giveBack(id) }
            if isHalted {
                if waiter.raw != releaser { return fail("granted in a halted pool") }
            } else if queues[wait.kind.modelIndex * Self.keys.count + wait.key].first != waiter.raw
            {
                return fail("granted out of turn")
            }
            forget(waiter.raw)
            accept(id, kind: wait.kind, key: wait.key, client: wait.client)
        case .refuse(let waiter, let refusal):
            guard let wait = waits[waiter.raw] else {
                if !isDeferring { fail("refused nobody") }
                return
            }
            forget(waiter.raw)
            checkLate(refusal, wait)
        }
    }

    /// The slot of an upstream. It may be gone only if the action was carried out late.
    private func known(_ id: UpstreamID) -> Int? {
        let slot = Int(id.slot)
        guard slot < upstreams.count, upstreams[slot]?.id == id else {
            if !isDeferring { fail("speaks of an upstream that is gone") }
            return nil
        }
        return slot
    }

    /// The client left between the pool's decision and now: its lease is returned unused.
    private func giveBack(_ id: UpstreamID) {
        guard isDeferring else { return fail("granted to nobody") }
        guard let slot = known(id) else { return }
        if pool.isExclusivelyLeased(id) {
            upstreams[slot]!.phase = .idle
            call("give back") { $0.release(id, key: Self.keys[upstreams[slot]!.key], now: now) }
        } else {
            // Which lane the pool has put it in is not known here.
            if upstreams[slot]!.phase == .idle { upstreams[slot]!.isSlow = false }
            upstreams[slot]!.phase = .shared
            call("give back") { $0.finish(id, now: now) }
            toSettle.append(id)
        }
    }

    private func beginDial(_ id: UpstreamID, _ key: PoolKey) {
        let slot = Int(id.slot)
        while upstreams.count <= slot { upstreams.append(nil) }
        guard upstreams[slot] == nil else { return fail("dials in a slot that is taken") }
        guard !isDraining else { return fail("dials while draining") }
        if isHalted, releaser == nil, !isDeferring { return fail("dials in a halted pool") }
        let index = Self.keys.firstIndex(of: key)!
        upstreams[slot] = Upstream(id: id, key: index, phase: .dialing)
        if !isDeferring, count(.dialing) > max(1, limits.maxOpen / 4) {
            fail("too many dials at a time")
        }
    }

    private func beginClose(_ id: UpstreamID, _ reason: CloseReason) {
        guard let slot = known(id) else { return }
        let upstream = upstreams[slot]!
        let isAsked = isDraining || retired.contains(id)
        switch upstream.phase {
        case .closing: return fail("closed twice")
        case .dialing, .converting:
            if !isAsked { return fail("closes what has not arrived") }
        case .pinned, .control:
            if !retired.contains(id) { return fail("closes what is leased") }
        case .shared:
            if !upstream.inFlight.isEmpty { return fail("closes what has commands in flight") }
            // The pool retires busy upstreams of old age by itself.
            if !upstream.isRetiring, !isDraining, reason != .maxLifetime {
                return fail("closes what is shared")
            }
        case .idle, .probing: break
        }
        if upstream.holder != Self.nobody { clients[upstream.holder] = .free }
        upstreams[slot]!.holder = Self.nobody
        upstreams[slot]!.phase = .closing
        upstreams[slot]!.closesBy = now + limits.closeTimeout
    }

    /// An upstream was granted: nobody else may have it in a way that excludes this.
    func accept(_ id: UpstreamID, kind: LeaseKind, key: Int, client: Int) {
        guard let slot = known(id) else {
            // Lost before the client heard of it: the shell asks for another one.
            clients[client] = .free
            return
        }
        let upstream = upstreams[slot]!
        guard fits(upstream.key, kind, key) else { return fail("granted in a wrong state") }
        switch kind {
        case .shared, .slow:
            let isOpen = upstream.isAvailable && !upstream.isRetiring
            let takesWork = upstream.phase == .shared && (isOpen || isDeferring)
            guard upstream.phase == .idle || takesWork else { return fail("not to be shared") }
            if upstream.phase == .idle {
                upstreams[slot]!.isAvailable = true
                // Behind, the pool may have given it to a fast one first.
                upstreams[slot]!.isSlow = kind == .slow && !isBehind
            }
            upstreams[slot]!.phase = .shared
            upstreams[slot]!.inFlight.append(client)
            clients[client] = .sharing(slot: slot, count: 1)
            if !isDeferring, upstream.inFlight.count >= upstream.most {
                fail("more in flight than the shell allows")
            }
            if upstream.inFlight.count >= 16 * max(limits.maxPipeline, limits.slowPipeline) + 20 {
                fail("deeper than the hard limit")
            }
        case .pin, .control:
            guard upstream.phase == .idle else { return fail("leased twice") }
            if kind == .pin, !isDeferring { checkLeavesOne() }
            upstreams[slot]!.phase = kind == .pin ? .pinned : .control
            upstreams[slot]!.holder = client
            clients[client] = .holding(slot: slot)
        }
    }

    /// Before a pin: others keep one, unless there cannot be more and the server is not full.
    private func checkLeavesOne() {
        let census = modelCensus()
        let retiring = upstreams.reduce(0) {
            $0 + ($1?.phase == .shared && $1?.isRetiring == true ? 1 : 0)
        }
        guard census.connected - census.pinned - retiring <= 1 else { return }
        if hasDialFailed { fail("a pin took the last one while the server refuses") }
        if census.open < limits.maxOpen, limits.maxIdle > 0 {
            fail("a pin took the last one, though there may be more")
        }
    }

    /// Whether an upstream in one state may serve those who want another: no database concerns
    /// control commands.
    private func fits(_ key: Int, _ kind: LeaseKind, _ wanted: Int) -> Bool {
        if key == wanted { return true }
        let (has, wants) = (Self.keys[key], Self.keys[wanted])
        return kind == .control && has.user == wants.user
            && has.protocolVersion == wants.protocolVersion
    }

    /// Something at work was given one that may never end, by a client that is on it already.
    func noteSlow(_ slot: Int) {
        if !upstreams[slot]!.isSlow { laneChanges += 1 }
        upstreams[slot]!.isSlow = true
    }

    /// A newcomer's fast command is put behind a slow one only when it must.
    func checkLane(_ id: UpstreamID, key: Int) {
        guard let slot = known(id), upstreams[slot]!.phase == .shared, upstreams[slot]!.isSlow,
            hasHeadroom(modelCensus()), !doPinsWait
        else { return }
        if hasIdle(.shared, key) { fail("put behind a slow command, beside an idle upstream") }
    }

    // MARK: Refusals

    func checkImmediate(_ refusal: Refusal, kind: LeaseKind) {
        switch refusal {
        case .poolTimeout: fail("refused by timeout without waiting")
        case .upstreamDown: if connected > 0 { fail("down although connected") }
        case .pinLimit: if kind != .pin || limits.maxPinned > 0 { fail("no pin limit") }
        case .queueFull: if waits.count < limits.maxWaiters { fail("queue is not full") }
        case .draining: if !isDraining { fail("not draining") }
        }
    }

    private func checkLate(_ refusal: Refusal, _ wait: Wait) {
        // Carried out late, the reasons may have passed.
        guard !isDeferring else { return }
        let isLate = now - wait.since >= limits.poolTimeout
        switch refusal {
        case .poolTimeout:
            if !isLate { fail("refused before its deadline") }
            if hasLive(wait.kind, wait.key) { fail("\(wait.kind) refused beside a live one") }
        // At the deadline it is the reason also where upstreams are left that do not answer.
        case .upstreamDown: if connected > 0, !isLate { fail("down although connected") }
        case .pinLimit:
            if !isLate || wait.kind != .pin || count(.pinned) < limits.maxPinned {
                fail("not the pin limit")
            }
        case .queueFull: fail("a waiter refused for a full queue")
        case .draining: if !isDraining { fail("not draining") }
        }
    }

    /// Whether a shared command could have been put on something, however long it has been silent.
    private func hasLive(_ kind: LeaseKind, _ key: Int) -> Bool {
        guard !hasLifetimes, kind == .shared || kind == .slow else { return false }
        let most = 16 * min(limits.maxPipeline, limits.slowPipeline)
        return upstreams.contains { upstream in
            guard let upstream else { return false }
            return upstream.phase == .shared && upstream.key == key && upstream.isAvailable
                && !upstream.isRetiring && upstream.inFlight.count < min(most, Int(upstream.most))
        }
    }

    // MARK: After every call

    func count(_ phase: Phase) -> Int {
        var count = 0
        for slot in upstreams.indices where upstreams[slot]?.phase == phase { count += 1 }
        return count
    }

    var connected: Int { modelCensus().connected }

    func modelCensus() -> PoolCensus {
        var census = PoolCensus()
        for slot in upstreams.indices {
            switch upstreams[slot]?.phase {
            case nil: break
            case .dialing: census.connecting += 1
            case .converting: census.converting += 1
            case .idle: census.idle += 1
            case .probing: census.probing += 1
            case .shared: census.shared += 1
            case .pinned: census.pinned += 1
            case .control: census.control += 1
            case .closing: census.closing += 1
            }
        }
        census.waiting = waits.count
        return census
    }

    func check() {
        if let broken = pool.brokenInvariant() { return fail(broken) }
        let census = modelCensus()
        if census != pool.census { return fail("model \(census), pool \(pool.census)") }
        if census.open > openCeiling { return fail("more open than maxOpen") }
        if census.pinned > pinCeiling { return fail("more pinned than maxPinned") }
        openCeiling = max(limits.maxOpen, min(openCeiling, census.open))
        pinCeiling = max(limits.maxPinned, min(pinCeiling, census.pinned))
        if pool.counters.hits + pool.counters.misses != leases { return fail("hits and misses") }
        if pool.counters.waits < pool.counters.handOvers { return fail("more grants than waits") }
        checkWaiters(census)
    }

    /// Nobody waits for what is there, or for longer than the deadline and a tick.
    private func checkWaiters(_ census: PoolCensus) {
        guard census.waiting > 0, !isHalted else { return }
        let hasHeadroom = hasHeadroom(census)
        let pinsWait = doPinsWait
        for kind in LeaseKind.allCases {
            for key in Self.keys.indices {
                let queue = queues[kind.modelIndex * Self.keys.count + key]
                guard let first = queue.first else { continue }
                if now - waits[first]!.since > limits.poolTimeout + .milliseconds(100) {
                    return fail("waits past its deadline")
                }
                let isAllowed =
                    switch kind {
                    case .shared, .slow: hasHeadroom && !pinsWait
                    case .pin:
                        // What is shared may be retiring.
                        hasHeadroom && census.pinned < limits.maxPinned
                            && census.connected - census.pinned - census.shared > 1
                    case .control: true
                    }
                if isAllowed, hasIdle(kind, key) {
                    return fail("\(kind) waits beside an idle one")
                }
            }
        }
    }

    private func hasHeadroom(_ census: PoolCensus) -> Bool {
        census.pinned + census.shared < limits.maxOpen - (limits.maxOpen >= 3 ? 1 : 0)
    }

    private var doPinsWait: Bool {
        Self.keys.indices.contains {
            !queues[LeaseKind.pin.modelIndex * Self.keys.count + $0].isEmpty
        }
    }

    private func hasIdle(_ kind: LeaseKind, _ key: Int) -> Bool {
        for slot in upstreams.indices {
            if let upstream = upstreams[slot], upstream.phase == .idle,
                fits(upstream.key, kind, key)
            {
                return true
            }
        }
        return false
    }

    // MARK: The end

    /// Everybody behaves: replies come, leases end, the server is up.
    func heal() {
        isServerUp = true
        resume()
        for _ in 0..<80 where failure == nil {
            settleAll()
            answerEverything()
            advance(.milliseconds(100))
        }
    }

    /// Nobody wants anything for a while: upstreams grow idle, old, and are probed.
    func quietTime() {
        for _ in 0..<(1 + random.below(8)) where failure == nil {
            answerEverything()
            advance(.milliseconds(Int64(random.below(3000))))
        }
    }

    private func answerEverything() {
        for slot in upstreams.indices {
            setAvailable(slot, true)
            setMost(slot, .max)
            if upstreams[slot]?.phase == .shared { setFenced(slot, false) }
            while upstreams[slot]?.phase == .shared, upstreams[slot]?.inFlight.isEmpty == false,
                failure == nil
            { reply(slot) }
            settleAll()
            switch upstreams[slot]?.phase {
            case .dialing: answerDial(slot, succeeds: true)
            case .converting: converted(slot)
            case .probing: probed(slot)
            case .closing: closed(slot)
            case .pinned, .control: release(slot, key: upstreams[slot]!.key)
            case .idle, .shared, nil: break
            }
        }
    }

    /// In a healed world whatever may be leased is to be had within `poolTimeout`.
    func checkLiveness() {
        guard failure == nil, limits.maxWaiters > 0 else { return }
        for kind in LeaseKind.allCases where kind != .pin || limits.maxPinned > 0 {
            for key in Self.keys.indices {
                let refused = pool.counters.misses - pool.counters.waits
                let timeouts = pool.counters.waitTimeouts
                lease(0, kind, key: key)
                for _ in 0..<30 {
                    answerEverything()
                    advance(.milliseconds(10))
                }
                if pool.counters.misses - pool.counters.waits != refused
                    || pool.counters.waitTimeouts != timeouts
                {
                    fail("no \(kind) to be had for key \(key) in a healed world")
                }
                guard failure == nil else { return }
            }
        }
    }

    func drainAll() {
        guard failure == nil else { return }
        isDraining = true
        for slot in upstreams.indices where upstreams[slot]?.phase == .shared {
            upstreams[slot]!.isRetiring = true
        }
        call("drain") { $0.drain(now: now) }
        for _ in 0..<30 where failure == nil {
            answerEverything()
            advance(.milliseconds(100))
        }
        if pool.census.open != 0 { fail("drained, but \(pool.census)") }
        if pool.counters.opens != pool.counters.allCloses { fail("opens and closes differ") }
        if !waits.isEmpty { fail("waiters left") }
    }
}
