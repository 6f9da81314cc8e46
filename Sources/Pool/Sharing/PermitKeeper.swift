// One worker's share of a pool's permits: takes what its machine needs, gives back what it does
// not, and hands over to other workers what they lack.

/// Where the permits are that no worker has, and where workers say what they lack. Workers are
/// numbered from 0, less than 64. What a worker takes is its own until it puts it back or pays it.
package protocol PermitLedger {
    /// Takes what there is of `wanted`.
    func take(_ wanted: PoolPermits) -> PoolPermits
    func putBack(_ permits: PoolPermits)
    /// What has been paid to `member` since the last call.
    func collect(_ member: Int) -> PoolPermits
    /// Says what `member` lacks; nothing is a need too.
    func publish(_ need: PermitNeed, of member: Int)
    /// The workers that lack something, a bit each.
    var hungry: UInt64 { get }
    /// What `member` lacks and nobody has promised it yet.
    func need(of member: Int) -> PermitNeed
    /// Promises what `member` still lacks of `permits`, and says how much that is.
    func promise(_ permits: PoolPermits, to member: Int) -> PoolPermits
    /// Keeps a promise, and wakes the receiver.
    func pay(_ permits: PoolPermits, to member: Int)
    /// Promises to `member` have not been kept for long: they count no more.
    func forgetPromises(to member: Int)
    /// Has all others look at what is lacked.
    func wakeOthers(than member: Int)
}

/// Keeps the permits of one worker's machine. The machine's permits and the debts together are what
/// is held, always.
package struct PermitKeeper {
    private struct Debt {
        let creditor: Int
        var permits: PoolPermits
    }

    private let member: Int
    /// What counts as this worker's, in use or not.
    package private(set) var held = PoolPermits()
    private var debts: [Debt] = []
    /// What others have been told of, and whether that has been paid in part.
    package private(set) var published = PermitNeed()
    private var isOutdated = false
    /// Since when promises to this worker count. That it has got something since does not matter:
    /// one kind must not wait for a promise because another is being had.
    private var promisesSince: Int64 = 0
    /// A promise is kept when a connection has closed, which takes a second at the most; but that of
    /// a pin may take for ever. What is then promised twice is given back.
    private static let promiseTime = Int64.seconds(2)

    package init(member: Int) {
        self.member = member
    }

    /// Brings the machine's permits into line with what it and others need. To be called after
    /// whatever may have changed the machine, and with `isTick` about every 100 ms. True when the
    /// machine may have new actions.
    package mutating func balance(
        _ machine: inout PoolStateMachine, _ ledger: some PermitLedger, now: MonotonicTime,
        isTick: Bool
    ) -> Bool {
        var hasChanged = receive(ledger.collect(member), &machine, now)
        if hasChanged { isOutdated = true }
        if machine.mayNeedPermits || published != PermitNeed() {
            hasChanged = satisfy(&machine, ledger, now, isTick) || hasChanged
        }
        var others = ledger.hungry & ~(1 << UInt64(member))
        if others == 0 {
            if published == PermitNeed() {
                let wish = machine.permitWish
                if !wish.isEmpty {
                    hasChanged = receive(ledger.take(wish), &machine, now) || hasChanged
                }
            }
        } else {
            while let rival = oldest(&others, ledger) {
                hasChanged = offer(to: rival, &machine, ledger, now) || hasChanged
            }
        }
        if isTick { giveBackSpare(&machine, ledger, now) }
        if !debts.isEmpty { payDebts(machine, ledger) }
        return hasChanged
    }

    private mutating func receive(
        _ permits: PoolPermits, _ machine: inout PoolStateMachine, _ now: MonotonicTime
    ) -> Bool {
        if permits.isEmpty { return false }
        held = held + permits
        machine.setPermits(machine.permits + permits, now: now)
        return true
    }

    private mutating func satisfy(
        _ machine: inout PoolStateMachine, _ ledger: some PermitLedger, _ now: MonotonicTime,
        _ isTick: Bool
    ) -> Bool {
        var need = machine.permitNeed()
        // What was said stays said until a tick finds it over: a need that comes and goes with
        // every batch of commands is one need.
        if need == PermitNeed(), !isTick, published.since == .max, published != PermitNeed() {
            return false
        }
        var hasChanged = false
        if receive(ledger.take(need.permits), &machine, now) {
            hasChanged = true
            need = machine.permitNeed()
        }
        if need.permits.isEmpty { need = PermitNeed() }
        let isNew = need != published || isOutdated
        guard isNew || (isTick && !need.permits.isEmpty) else { return hasChanged }
        if published == PermitNeed() { promisesSince = now.nanoseconds }
        if isTick { forgetOldPromises(ledger, now) }
        // With every tick everything is said anew, so that nothing is lost for longer.
        let known = isOutdated || isTick ? PoolPermits() : published.permits
        let isMore = need.permits.limited(to: known) != need.permits
        let isUrgent = need.since != .max && published.since == .max
        published = need
        isOutdated = false
        ledger.publish(need, of: member)
        guard isMore || isUrgent else { return hasChanged }
        // What was put back before others could see the need is found now.
        if receive(ledger.take(need.permits), &machine, now) { hasChanged = true }
        ledger.wakeOthers(than: member)
        return hasChanged
    }

    private mutating func forgetOldPromises(_ ledger: some PermitLedger, _ now: MonotonicTime) {
        guard now.nanoseconds - promisesSince >= Self.promiseTime else { return }
        promisesSince = now.nanoseconds
        ledger.forgetPromises(to: member)
    }

    /// Takes the worker that has lacked something for longest out of `members`.
    private func oldest(_ members: inout UInt64, _ ledger: some PermitLedger) -> Int? {
        var oldest: Int?
        var since = Int64.max
        var rest = members
        while rest != 0 {
            let candidate = rest.trailingZeroBitCount
            rest &= rest - 1
            let itsSince = ledger.need(of: candidate).since
            if oldest == nil || itsSince < since {
                oldest = candidate
                since = itsSince
            }
        }
        if let oldest { members &= ~(1 << UInt64(oldest)) }
        return oldest
    }

    private mutating func offer(
        to rival: Int, _ machine: inout PoolStateMachine, _ ledger: some PermitLedger,
        _ now: MonotonicTime
    ) -> Bool {
        let need = ledger.need(of: rival)
        guard !need.permits.isEmpty else { return false }
        let promised = ledger.promise(
            machine.permitOffer(to: need, now: now).limited(to: need.permits), to: rival)
        if promised.isEmpty { return false }
        debts.append(Debt(creditor: rival, permits: promised))
        machine.setPermits(machine.permits - promised, now: now)
        return true
    }

    private mutating func payDebts(
        _ machine: borrowing PoolStateMachine, _ ledger: some PermitLedger
    ) {
        for index in debts.indices {
            let payment = machine.payable(debts[index].permits, of: held)
            if payment.isEmpty { continue }
            held = held - payment
            debts[index].permits = debts[index].permits - payment
            ledger.pay(payment, to: debts[index].creditor)
        }
        debts.removeAll { $0.permits.isEmpty }
    }

    private mutating func giveBackSpare(
        _ machine: inout PoolStateMachine, _ ledger: some PermitLedger, _ now: MonotonicTime
    ) {
        // Where somebody waits although what he lacks has been promised, an unused permit is his.
        let spare = machine.permitSpare(keeping: isAnyoneElseWaiting(ledger) ? 0 : 1)
        if spare.isEmpty { return }
        held = held - spare
        machine.setPermits(machine.permits - spare, now: now)
        ledger.putBack(spare)
        if ledger.hungry != 0 { ledger.wakeOthers(than: member) }
    }

    private func isAnyoneElseWaiting(_ ledger: some PermitLedger) -> Bool {
        var others = ledger.hungry & ~(1 << UInt64(member))
        while others != 0 {
            if ledger.need(of: others.trailingZeroBitCount).since != .max { return true }
            others &= others - 1
        }
        return false
    }
}
