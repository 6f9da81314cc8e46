// Which claim is believed.

extension SentinelTracker {
    /// Takes over a claim, if one is to be believed instead of the present one.
    mutating func judge() {
        if let claim = firstClaim() ?? provenClaim() {
            adopt(claim)
        } else if let claim = majorityClaim() {
            for index in sentinels.indices where sentinels[index].claim != claim {
                let said = sentinels[index].claim?.epoch ?? -1
                sentinels[index].isOverruled = said >= claim.epoch
            }
            adopt(claim)
        }
        overruleUnproven()
    }

    /// Sentinels whose claim nothing proves, while a majority names the present primary, are not
    /// believed any more: otherwise they would have all others asked for ever.
    private mutating func overruleUnproven() {
        guard let primary, isVerified else { return }
        for index in sentinels.indices where !sentinels[index].isOverruled {
            let since = sentinels[index].claimedSince
            guard let claim = sentinels[index].claim, claim.epoch > primary.epoch,
                sentinels[index].answeredAt - since >= Self.contradictionTime
            else { continue }
            sentinels[index].isOverruled = hasMajority(
                primary, for: Self.contradictionTime, after: since)
        }
    }

    private mutating func adopt(_ claim: PrimaryClaim) {
        let old = primary
        let isProven = proof(of: claim) == .primary
        primary = claim
        decidedAt = clock
        for index in sentinels.indices where sentinels[index].claim == claim {
            sentinels[index].isOverruled = false
        }
        guard old?.address != claim.address else { return }
        isVerified = isProven
        if let old, !hasLeft { want(.leave(old.address)) }
        hasLeft = false
        want(.adopt(claim))
        askAll()
    }

    /// Before anything is known: the claim with the highest epoch, once all have spoken or the
    /// first claim is a second old, so that it is not the fastest Sentinel that decides; or one
    /// that a majority makes.
    private func firstClaim() -> PrimaryClaim? {
        let claims = sentinels.compactMap(\.claim)
        guard primary == nil, let highest = claims.max(by: { $0.epoch < $1.epoch }) else {
            return nil
        }
        let isLate = firstClaimAt.map { clock - $0 >= Self.confirmationTime } ?? false
        return isLate || sentinels.allSatisfy(\.hasSpoken) || hasMajority(highest) ? highest : nil
    }

    /// Since when there has been a claim.
    var firstClaimAt: Int64? {
        sentinels.filter { $0.claim != nil }.map(\.claimedSince).min()
    }

    /// A claim that its epoch and a majority, or its epoch and its server, prove.
    private func provenClaim() -> PrimaryClaim? {
        guard let primary else { return nil }
        let claims = otherClaims()
        for claim in claims where claim.epoch > primary.epoch && hasMajority(claim) {
            return claim
        }
        for claim in claims where claim.epoch > primary.epoch && isTrusted(claim) {
            let result = proof(of: claim)
            if result == .primary { return claim }
            // The highest epoch wins, so lower ones wait for what this server says.
            if result == nil { break }
        }
        guard isRefuted, !hasMajority(primary) else { return nil }
        return claims.first {
            $0.epoch == primary.epoch && isTrusted($0) && proof(of: $0) == .primary
        }
    }

    /// A claim without a higher epoch that a majority has made for long enough.
    private func majorityClaim() -> PrimaryClaim? {
        guard let primary else { return nil }
        // Somebody has seen a failover of which the others may not know yet.
        let time = isTrusted(primary) ? Self.contradictionTime : Self.confirmationTime
        return otherClaims().first { $0.epoch <= primary.epoch && hasMajority($0, for: time) }
    }

    /// The claims besides the present one, highest epoch first.
    private func otherClaims() -> [PrimaryClaim] {
        Set(sentinels.compactMap(\.claim)).subtracting(primary.map { [$0] } ?? [])
            .sorted { $0.epoch > $1.epoch }
    }

    /// The present primary has been asked for its role, and is none or does not answer.
    private var isRefuted: Bool {
        guard !isVerified, let primary, let check = check(of: primary.address) else { return false }
        return check.result == .other || check.result == .unreachable
    }

    /// What the server of a claim has said of its role since the claim was made; nil for nothing
    /// yet.
    func proof(of claim: PrimaryClaim) -> RoleCheck.Result? {
        if claim.address == primary?.address, isVerified { return .primary }
        let since = sentinels.filter { $0.claim == claim }.map(\.claimedSince).min() ?? .max
        guard let check = check(of: claim.address), check.resultAt >= since else { return nil }
        return check.result
    }

    func check(of address: NodeAddress) -> RoleCheck? {
        roles.first { $0.address == address }
    }

    /// A Sentinel makes the claim that has not been overruled.
    func isTrusted(_ claim: PrimaryClaim) -> Bool {
        sentinels.contains { $0.claim == claim && !$0.isOverruled }
    }

    /// Whether more than half of the known Sentinels make the claim, and have made it for `time`
    /// since the latest decision, and since `start`. A Sentinel that is known by two addresses is
    /// one. One that others name counts when it has answered: nobody can make a majority impossible
    /// with names.
    func hasMajority(
        _ claim: PrimaryClaim, for time: Int64 = 0, after start: Int64 = .min
    ) -> Bool {
        var all: Set<[UInt8]> = []
        var agreeing: Set<[UInt8]> = []
        for sentinel in sentinels where sentinel.isConfigured || sentinel.hasAnswered {
            let identity = sentinel.runID ?? Array(sentinel.address.description.utf8)
            all.insert(identity)
            let since = max(sentinel.claimedSince, decidedAt, start)
            if sentinel.claim == claim, time == 0 || sentinel.answeredAt - since >= time {
                agreeing.insert(identity)
            }
        }
        return agreeing.count * 2 > all.count
    }

    /// Takes a Sentinel's answer.
    mutating func take(_ answer: SentinelAnswer, from index: Int) {
        sentinels[index].askedAt = nil
        sentinels[index].failures = 0
        sentinels[index].hasSpoken = true
        sentinels[index].hasAnswered = true
        sentinels[index].answeredAt = clock
        sentinels[index].runID = answer.runID ?? sentinels[index].runID
        if sentinels[index].claim != answer.claim {
            sentinels[index].claim = answer.claim
            sentinels[index].claimedSince = clock
        }
        if answer.claim == primary { sentinels[index].isOverruled = false }
        sentinels[index].replicas = answer.replicas
        _ = sentinels[index].peers.take(answer.peers.map(\.address))
        for peer in answer.peers.prefix(Self.mostSentinels) {
            sentinels[index].peerIDs[peer.address] = peer.runID
        }
        let peers = sentinels[index].peers
        sentinels[index].peerIDs = sentinels[index].peerIDs.filter { peers.contains($0.key) }
    }

    /// Takes what a server has said of its role.
    mutating func note(_ result: RoleCheck.Result, of address: NodeAddress) {
        let place = roles.firstIndex { $0.address == address }
        if let place {
            roles[place].result = result
            roles[place].resultAt = clock
            roles[place].askedAt = nil
        } else {
            roles.append(RoleCheck(address: address, result: result, resultAt: clock))
        }
        guard let primary, address == primary.address else { return }
        let wasVerified = isVerified
        isVerified = result == .primary
        if isVerified {
            // It was a replica for a moment, and nobody has taken its place.
            if hasLeft { want(.adopt(primary)) }
            hasLeft = false
        } else if wasVerified {
            askAll()
        }
        // A replica: what its connections still do is lost or refused.
        if result == .other, !hasLeft {
            hasLeft = true
            want(.leave(address))
        }
    }
}
