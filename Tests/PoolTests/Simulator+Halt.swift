import Pool

// The pool is halted and resumed, and commands that release blocked clients ask for a lease.

extension Simulator {
    func toggleHalt() {
        catchUp()
        if isHalted { resume() } else { halt() }
    }

    private func halt() {
        isHalted = true
        haltedAt = now
        for slot in upstreams.indices {
            guard let upstream = upstreams[slot] else { continue }
            switch upstream.phase {
            case .pinned, .control, .closing: break
            case .shared where upstream.isRetiring: break
            case .shared:
                upstreams[slot]!.isRetiring = true
                haltRetires.append(upstream.id)
            case .dialing, .converting, .idle, .probing: retired.append(upstream.id)
            }
        }
        call("halt") { $0.halt(now: now) }
        catchUp()
    }

    func resume() {
        guard isHalted else { return }
        isHalted = false
        for serial in waits.keys {
            let since = waits[serial]!.since
            waits[serial]!.since = since + (now - max(since, haltedAt))
        }
        for id in haltRetires where upstreams[Int(id.slot)]?.id == id {
            if upstreams[Int(id.slot)]!.phase == .shared {
                upstreams[Int(id.slot)]!.isRetiring = false
            }
        }
        haltRetires = []
        call("resume") { $0.resume(now: now) }
        catchUp()
    }

    /// RECONNECT.
    func replaceAll() {
        catchUp()
        for slot in upstreams.indices {
            guard let upstream = upstreams[slot] else { continue }
            switch upstream.phase {
            case .pinned, .control, .closing: break
            case .shared: upstreams[slot]!.isRetiring = true
            case .dialing, .converting, .idle, .probing: retired.append(upstream.id)
            }
        }
        haltRetires = []
        call("replaceAll") { $0.replaceAll(.reconnect, now: now) }
        catchUp()
    }

    /// Another lease while one is waited for would take its place.
    func leaseToRelease(_ client: Int, key: Int) {
        guard failure == nil, releaser == nil else { return }
        begin("leaseToRelease")
        serial += 1
        leases += 1
        switch pool.leaseToRelease(key: Self.keys[key], for: WaiterID(raw: serial), now: now) {
        case .granted(let id):
            if isHalted { fail("granted at once in a halted pool") }
            accept(id, kind: .control, key: key, client: client)
        case .queued(let ticket):
            releaser = serial
            enqueue(client, .control, key: key, ticket)
        case .refused(let refusal):
            if !isBehind { checkImmediate(refusal, kind: .control) }
        }
        finishCall()
    }
}
