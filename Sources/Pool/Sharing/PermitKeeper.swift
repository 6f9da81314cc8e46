// One worker's share of a pool's permits. The keeper takes what its machine needs, gives back what
// it does not use, and hands over what other workers lack. `Permits.swift` explains the scheme.

/// What `PermitKeeper.balance` leaves to the shell.
package struct PermitOutcome {
    /// The machine may have new actions: the shell carries them out and calls `balance` again.
    package var hasChanged: Bool
    /// The workers that must call `balance` soon, a bit for each member.
    package var toWake: UInt64
}

/// Keeps the permits of one worker's machine. `held` is always the sum of the machine's permits and
/// the debts.
package struct PermitKeeper {
    private struct Debt {
        let creditor: Int
        var permits: PoolPermits
    }

    private let member: Int
    /// The permits that count as this worker's, used or not.
    package private(set) var held = PoolPermits()
    private var debts: [Debt] = []
    /// The need in the book, as this worker published it.
    package private(set) var published = PermitNeed()
    /// Permits were collected since, which the book has taken off the need.
    private var isOutdated = false
    /// Since when promises to this worker count. Payments do not renew it: a kind that is paid must
    /// not prolong the wait for a kind that is only promised. Nor does another need while there are
    /// promises: clients that wait for short times would never outlive one.
    private var promisesSince: Int64 = 0
    /// How long a promise counts. It is kept when a connection has closed, within a second as a
    /// rule, but a promised pin may never end. What is given twice because of that is given back.
    private static let promiseTime = Int64.seconds(2)
    /// The workers to wake, a bit each, since `balance` began.
    private var toWake: UInt64 = 0

    package init(member: Int) {
        self.member = member
    }

    /// Brings the machine's permits into line with what it and others need. The shell calls it
    /// after every change of the machine, and with `isTick` about every 100 ms.
    package mutating func balance(
        _ machine: inout PoolStateMachine, _ book: PermitBook<some PermitCell>,
        now: MonotonicTime, isTick: Bool
    ) -> PermitOutcome {
        toWake = 0
        var hasChanged = receive(book.collect(member), &machine, now)
        if hasChanged { isOutdated = true }
        if machine.mayNeedPermits || published != PermitNeed() {
            hasChanged = satisfy(&machine, book, now, isTick) || hasChanged
        }
        var others = book.hungry & ~(1 << UInt64(member))
        if others == 0 {
            if published == PermitNeed() {
                let wish = machine.permitWish
                if !wish.isEmpty {
                    hasChanged = receive(book.take(wish), &machine, now) || hasChanged
                }
            }
        } else {
            while let rival = oldest(&others, book) {
                hasChanged = offer(to: rival, &machine, book, now) || hasChanged
            }
        }
        if isTick { hasChanged = giveBackSpare(&machine, book, now) || hasChanged }
        if !debts.isEmpty { payDebts(machine, book) }
        return PermitOutcome(hasChanged: hasChanged, toWake: toWake)
    }

    /// Takes the permits of connections that the machine has adopted, as far as there are any.
    package mutating func adopt(
        _ permits: PoolPermits, _ machine: inout PoolStateMachine,
        _ book: PermitBook<some PermitCell>, now: MonotonicTime
    ) {
        _ = receive(book.take(permits), &machine, now)
    }

    private mutating func wakeOthers(of book: PermitBook<some PermitCell>) {
        toWake |= book.everybody & ~(1 << UInt64(member))
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
        _ machine: inout PoolStateMachine, _ book: PermitBook<some PermitCell>,
        _ now: MonotonicTime, _ isTick: Bool
    ) -> Bool {
        var need = machine.permitNeed()
        // A need without a waiter stays published until a tick finds that it is over: otherwise it
        // would be published and withdrawn with every batch of commands.
        if need == PermitNeed(), !isTick, published.since == .max, published != PermitNeed() {
            return false
        }
        var hasChanged = false
        if receive(book.take(need.permits), &machine, now) {
            hasChanged = true
            need = machine.permitNeed()
        }
        if need.permits.isEmpty { need = PermitNeed() }
        let isNew = need != published || isOutdated
        guard isNew || (isTick && !need.permits.isEmpty) else { return hasChanged }
        if published == PermitNeed(), !book.hasPromises(to: member) {
            promisesSince = now.nanoseconds
        }
        if isTick { forgetOldPromises(book, now) }
        // A tick publishes the whole need as if it were new, and so repairs what was lost.
        let known = isOutdated || isTick ? PoolPermits() : published.permits
        let isMore = need.permits.limited(to: known) != need.permits
        let isUrgent = need.since != .max && published.since == .max
        published = need
        isOutdated = false
        book.publish(need, of: member)
        guard isMore || isUrgent else { return hasChanged }
        // Permits that became free before others could see the need are found now.
        if receive(book.take(need.permits), &machine, now) { hasChanged = true }
        wakeOthers(of: book)
        return hasChanged
    }

    private mutating func forgetOldPromises(
        _ book: PermitBook<some PermitCell>, _ now: MonotonicTime
    ) {
        guard now.nanoseconds - promisesSince >= Self.promiseTime else { return }
        promisesSince = now.nanoseconds
        book.forgetPromises(to: member)
    }

    /// Removes the worker whose client has waited longest from `members`, and returns it.
    private func oldest(_ members: inout UInt64, _ book: PermitBook<some PermitCell>) -> Int? {
        var oldest: Int?
        var since = Int64.max
        var rest = members
        while rest != 0 {
            let candidate = rest.trailingZeroBitCount
            rest &= rest - 1
            let itsSince = book.need(of: candidate).since
            if oldest == nil || itsSince < since {
                oldest = candidate
                since = itsSince
            }
        }
        if let oldest { members &= ~(1 << UInt64(oldest)) }
        return oldest
    }

    private mutating func offer(
        to rival: Int, _ machine: inout PoolStateMachine, _ book: PermitBook<some PermitCell>,
        _ now: MonotonicTime
    ) -> Bool {
        let need = book.need(of: rival)
        guard !need.permits.isEmpty else { return false }
        let promised = book.promise(
            machine.permitOffer(to: need, now: now).limited(to: need.permits), to: rival)
        if promised.isEmpty { return false }
        debts.append(Debt(creditor: rival, permits: promised))
        machine.setPermits(machine.permits - promised, now: now)
        return true
    }

    private mutating func payDebts(
        _ machine: borrowing PoolStateMachine, _ book: PermitBook<some PermitCell>
    ) {
        for index in debts.indices {
            let payment = machine.payable(debts[index].permits, of: held)
            if payment.isEmpty { continue }
            held = held - payment
            debts[index].permits = debts[index].permits - payment
            book.pay(payment, to: debts[index].creditor)
            toWake |= 1 << UInt64(debts[index].creditor)
        }
        debts.removeAll { $0.permits.isEmpty }
    }

    private mutating func giveBackSpare(
        _ machine: inout PoolStateMachine, _ book: PermitBook<some PermitCell>, _ now: MonotonicTime
    ) -> Bool {
        // If a client of another worker waits, even for a permit that was promised, none is kept.
        let spare = machine.permitSpare(keeping: isAnyoneElseWaiting(book) ? 0 : 1)
        if spare.isEmpty { return false }
        held = held - spare
        machine.setPermits(machine.permits - spare, now: now)
        book.putBack(spare)
        if book.hungry != 0 { wakeOthers(of: book) }
        return true
    }

    private func isAnyoneElseWaiting(_ book: PermitBook<some PermitCell>) -> Bool {
        var others = book.hungry & ~(1 << UInt64(member))
        while others != 0 {
            if book.need(of: others.trailingZeroBitCount).since != .max { return true }
            others &= others - 1
        }
        return false
    }
}
