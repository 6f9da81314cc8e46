// Who is connected, asked and verified, and when.

package import Pool

extension SentinelTracker {
    // MARK: Who is watched

    /// The Sentinels of the configuration, and no others of it.
    mutating func configure(_ addresses: [NodeAddress]) {
        for index in sentinels.indices {
            sentinels[index].isConfigured = addresses.contains(sentinels[index].address)
        }
        for address in addresses where !known.contains(address) {
            watch(address, isConfigured: true)
        }
        forgetUnnamed()
    }

    /// Watches the Sentinels that others name, and forgets those that nobody names any more.
    mutating func watchPeers() {
        for sentinel in sentinels {
            for address in sentinel.peers.current where sentinels.count < Self.mostSentinels {
                let isKnown = sentinels.contains {
                    $0.address == address
                        || $0.runID != nil && $0.runID == sentinel.peerIDs[address]
                }
                if !isKnown { watch(address, isConfigured: false) }
            }
        }
        forgetUnnamed()
    }

    private mutating func watch(_ address: NodeAddress, isConfigured: Bool) {
        lastID &+= 1
        sentinels.append(
            WatchedSentinel(
                id: SentinelID(raw: lastID), address: address, isConfigured: isConfigured))
    }

    private mutating func forgetUnnamed() {
        let gone = sentinels.filter { found in
            guard !found.isConfigured else { return false }
            let isNamed = sentinels.contains {
                $0.id != found.id && $0.peers.contains(found.address)
            }
            // It has turned out to be one that is known by another address.
            let isDouble = sentinels.contains {
                $0.id.raw < found.id.raw && $0.runID != nil && $0.runID == found.runID
            }
            return !isNamed || isDouble
        }
        for sentinel in gone {
            if case .down = sentinel.link {} else { want(.close(sentinel.id)) }
        }
        sentinels.removeAll { sentinel in gone.contains { $0.id == sentinel.id } }
    }

    // MARK: What is to be found out

    /// Nothing is to be found out: the primary is verified, and no claim is in doubt.
    package var isSettled: Bool {
        guard let primary, isVerified else { return false }
        let others = sentinels.filter { $0.claim != nil && $0.claim != primary }
        let hasHigher = others.contains {
            ($0.claim?.epoch ?? 0) > primary.epoch && !$0.isOverruled
        }
        return !hasHigher && others.count * 2 <= sentinels.count
    }

    /// Asks all Sentinels, each as soon as its interval is over.
    mutating func askAll() {
        for index in sentinels.indices where sentinels[index].link == .up {
            sentinels[index].wantAsked(
                at: max(clock, sentinels[index].lastAskedAt + Self.searchInterval))
        }
    }

    // MARK: What is due

    /// Ends what takes too long, and begins what is due.
    mutating func pump() {
        endOverdue()
        if !isSettled { askAll() }
        askOneInTurn()
        connectAndAsk()
        verifyServers()
    }

    private mutating func endOverdue() {
        var hasEnded = false
        for index in sentinels.indices {
            let began: Int64? =
                if case .connecting(let since) = sentinels[index].link { since } else {
                    sentinels[index].askedAt
                }
            guard let began, clock - began >= answerTimeout else { continue }
            want(.close(sentinels[index].id))
            lose(index)
            hasEnded = true
        }
        for index in roles.indices {
            guard let askedAt = roles[index].askedAt, clock - askedAt >= answerTimeout else {
                continue
            }
            note(.unreachable, of: roles[index].address)
            hasEnded = true
        }
        if hasEnded { judge() }
    }

    /// The connection to a Sentinel has ended.
    mutating func lose(_ index: Int) {
        let doublings = Int64(min(sentinels[index].failures, Self.mostDoublings))
        sentinels[index].failures += 1
        let (soon, late) = (Self.retryInterval, Self.retryInterval << doublings)
        sentinels[index].disconnect(
            soonest: clock + soon + random.below(soon / 4),
            retryAt: clock + late + random.below(late / 4))
    }

    /// When a connection that is down is made again; nil for others. Patience is for times in
    /// which most Sentinels are there and agree.
    private func connectAt(_ sentinel: WatchedSentinel) -> Int64? {
        guard case .down(let soonest, let retryAt) = sentinel.link else { return nil }
        return isSettled && connectedSentinels * 2 > sentinels.count ? retryAt : soonest
    }

    private mutating func askOneInTurn() {
        quietAskAt = min(quietAskAt, clock + quietTime)
        guard clock >= quietAskAt else { return }
        quietAskAt = clock + quietTime
        let connected = sentinels.indices.filter { sentinels[$0].link == .up }
        let next = connected.min { sentinels[$0].lastAskedAt < sentinels[$1].lastAskedAt }
        if let next { sentinels[next].wantAsked(at: clock) }
    }

    private mutating func connectAndAsk() {
        for index in sentinels.indices {
            if let dueAt = connectAt(sentinels[index]), dueAt <= clock {
                sentinels[index].link = .connecting(since: clock)
                want(.connect(sentinels[index].id, sentinels[index].address))
            }
            guard sentinels[index].link == .up, sentinels[index].askedAt == nil,
                sentinels[index].askAt <= clock
            else { continue }
            sentinels[index].askAt = .max
            sentinels[index].askedAt = clock
            sentinels[index].lastAskedAt = clock
            want(.ask(sentinels[index].id))
        }
    }

    /// Asks servers for their role: the primary until it is verified, and those of claims that
    /// could be believed on their word.
    private mutating func verifyServers() {
        let wanted = serversInQuestion()
        roles.removeAll { check in
            check.askedAt == nil && !wanted.contains(check.address)
                && check.address != primary?.address
        }
        for address in wanted {
            if check(of: address) == nil { roles.append(RoleCheck(address: address)) }
        }
        for index in roles.indices where wanted.contains(roles[index].address) {
            guard roles[index].askedAt == nil, dueAt(roles[index]) <= clock else { continue }
            roles[index].askedAt = clock
            roles[index].lastAskedAt = clock
            want(.verify(roles[index].address))
        }
    }

    /// A server is asked every `searchInterval`, and at once for a claim that is new.
    private func dueAt(_ check: RoleCheck) -> Int64 {
        let isNew = sentinels.contains {
            guard let claim = $0.claim, claim.address == check.address, claim != primary else {
                return false
            }
            return proof(of: claim) == nil && $0.claimedSince >= check.lastAskedAt
        }
        return check.lastAskedAt + (isNew ? Self.urgentInterval : Self.searchInterval)
    }

    private func serversInQuestion() -> [NodeAddress] {
        guard let primary else { return [] }
        var addresses = isVerified ? [] : [primary.address]
        for sentinel in sentinels where !sentinel.isOverruled {
            guard let claim = sentinel.claim, claim.address != primary.address,
                claim.epoch > primary.epoch || claim.epoch == primary.epoch && !isVerified,
                !addresses.contains(claim.address)
            else { continue }
            addresses.append(claim.address)
        }
        return addresses
    }

    /// When `tick` has to be called at the latest, if nothing happens before.
    package var nextDeadline: MonotonicTime {
        var next = quietAskAt
        for sentinel in sentinels {
            switch sentinel.link {
            case .down: next = min(next, connectAt(sentinel) ?? next)
            case .connecting(let since): next = min(next, since + answerTimeout)
            case .up:
                next = min(next, sentinel.askedAt.map { $0 + answerTimeout } ?? sentinel.askAt)
            }
        }
        let wanted = serversInQuestion()
        for check in roles {
            if let askedAt = check.askedAt {
                next = min(next, askedAt + answerTimeout)
            } else if wanted.contains(check.address) {
                next = min(next, dueAt(check))
            }
        }
        if primary == nil, let firstClaimAt {
            next = min(next, firstClaimAt + Self.confirmationTime)
        }
        return MonotonicTime(nanoseconds: max(next, clock))
    }
}
