import Pool
import Testing

@Suite("Upstreams of another process")
struct CarriedTests {
    private func slot(_ lease: CarriedSlot.Lease, at seconds: Int64 = 900) -> CarriedSlot {
        func moment(_ more: Int64) -> MonotonicTime {
            MonotonicTime(nanoseconds: .seconds(seconds) + more)
        }
        return CarriedSlot(
            lease: lease, dialedAt: moment(1), connectedAt: moment(2), idleSince: moment(3),
            activeAt: moment(4), progressAt: moment(lease.isShared ? 5 : 0))
    }

    private let leases: [CarriedSlot.Lease] = [
        .none, .shared(inFlight: 3, isSlow: false, isFenced: false),
        .shared(inFlight: 1, isSlow: true, isFenced: true), .pin, .control,
    ]

    @Test("what is adopted is carried on as it was")
    func roundTrip() {
        let pool = PoolScript(PoolLimits(maxOpen: 8))
        for lease in leases {
            let carried = slot(lease)
            let id = pool.adopt(carried, otherUser)
            if lease == .none {
                #expect(pool.carried(id) == nil, "its server has to answer first")
                pool.probed(id)
            }
            var again = pool.carried(id)
            if !lease.isShared { again?.progressAt = carried.progressAt }
            if lease == .none { again?.activeAt = carried.activeAt }
            #expect(again == carried)
        }
        #expect(pool.census.idle == 1)
        #expect(pool.census.shared == 2)
        #expect(pool.census.pinned == 1)
        #expect(pool.census.control == 1)
        #expect(pool.counters.adoptions == 5)
        #expect(pool.counters.opens == 0)
        #expect(pool.actions() == [])
    }

    @Test("an idle one is leased, a shared one settles, a pin is given back")
    func use() {
        let pool = PoolScript(PoolLimits(maxOpen: 4, maxPinned: 3))
        let pinned = pool.adopt(slot(.pin))
        let shared = pool.adopt(slot(.shared(inFlight: 1, isSlow: false, isFenced: true)))
        let idle = pool.adopt(slot(.none))
        pool.queued(.pin, by: 1)
        #expect(pool.actions() == [], "it waits for the answer of this one")
        pool.probed(idle)
        #expect(pool.actions() == [.grant(client(1), idle)])
        pool.finish(shared)
        pool.settle(shared)
        #expect(pool.census.shared == 1)
        pool.finishFence(shared)
        pool.settle(shared)
        #expect(pool.census.idle == 1)
        pool.release(pinned)
        pool.lost(idle)
        #expect(pool.census.idle == 2)
        #expect(pool.carried(idle) == nil)
    }

    @Test("its life goes on: it is closed as old as it is")
    func lifetime() {
        let pool = PoolScript(PoolLimits(maxOpen: 3, maxLifetime: .seconds(50)))
        let old = pool.adopt(slot(.none))
        let young = pool.adopt(slot(.none, at: 990))
        pool.probed(young)
        pool.probed(old)
        #expect(pool.actions() == [.close(old, .maxLifetime)])
        #expect(pool.carried(old) == nil)
        #expect(pool.carried(young) != nil)
    }

    @Test("more than the limits allow are kept, and no other joins them")
    func limits() {
        let pool = PoolScript(PoolLimits(maxOpen: 2, maxPinned: 1))
        let pins = (0..<3).map { _ in pool.adopt(slot(.pin)) }
        pool.tick()
        #expect(pool.census.pinned == 3)
        pool.queued(.pin, by: 1)
        #expect(pool.actions() == [])
        for pin in pins { pool.release(pin) }
        pool.tick()
        #expect(pool.census.pinned <= 1)
    }

    @Test("an idle one whose server does not answer is closed")
    func silence() {
        let pool = PoolScript(PoolLimits(maxOpen: 3, pingTimeout: .seconds(2)))
        let idle = pool.adopt(slot(.none))
        pool.pass(.seconds(1))
        pool.tick()
        #expect(pool.actions() == [])
        pool.pass(.seconds(1))
        pool.tick()
        #expect(pool.actions() == [.close(idle, .pingFailed)])
        #expect(pool.counters.probeFailures == 1)
    }

    @Test("those that are not at rest are not carried")
    func restless() {
        let pool = PoolScript(PoolLimits(maxOpen: 4))
        pool.queued(.shared, by: 1)
        #expect(pool.carried(up(0)) == nil)
        pool.connected(up(0))
        #expect(pool.carried(up(0))?.lease == .shared(inFlight: 1, isSlow: false, isFenced: false))
        let idle = pool.adopt(slot(.none))
        pool.retire(idle, .reconnect)
        #expect(pool.carried(idle) == nil)
    }
}

extension CarriedSlot.Lease {
    fileprivate var isShared: Bool { if case .shared = self { true } else { false } }
}
