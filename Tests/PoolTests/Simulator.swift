import Pool

// A world around one pool: clients that lease, send, leave; a server that answers, refuses, stalls
// and vanishes; a clock that jumps. All from one seed. The simulator keeps a model of its own of
// who holds what, made only from what the pool told it, and compares after every call.

/// One seeded run. `failure` says what went wrong first; after that nothing more happens.
final class Simulator {
    /// Where the model believes an upstream to be.
    enum Phase {
        case dialing, converting, idle, probing, shared, pinned, control, closing
    }

    struct Upstream {
        let id: UpstreamID
        var key: Int
        var phase: Phase
        /// Shared: whose commands are in flight, in order; `nobody` if the client left.
        var inFlight: [Int] = []
        var isAvailable = true
        /// The most commands in flight.
        var most = Int32.max
        /// Shared: a fence is in flight.
        var isFenced = false
        /// Shared: has been given a slow command since it was idle.
        var isSlow = false
        /// We asked for its end.
        var isRetiring = false
        /// Exclusive: the client.
        var holder = nobody
        var closesBy = MonotonicTime(nanoseconds: .max)
    }

    enum Client {
        case free
        case waiting(serial: UInt64)
        case sharing(slot: Int, count: Int)
        case holding(slot: Int)
    }

    struct Wait {
        let client: Int
        let kind: LeaseKind
        let key: Int
        var since: MonotonicTime
        let ticket: WaitTicket
    }

    static let nobody = -1
    static let keys = [db0, db1, resp3, otherUser]

    let seed: UInt64
    var random: SeededRandom
    var limits: PoolLimits
    var pool: PoolStateMachine
    var now = MonotonicTime(nanoseconds: .seconds(1))
    var nextTick: MonotonicTime
    var upstreams: [Upstream?] = []
    var clients: [Client]
    var waits: [UInt64: Wait] = [:]
    /// Serials of waiters by kind and key, in order of arrival.
    var queues = [[UInt64]](repeating: [], count: 4 * Simulator.keys.count)
    /// Shared upstreams to be settled at the end of the iteration.
    var toSettle: [UpstreamID] = []
    var graveyard: [UpstreamID] = []
    var isServerUp = true
    var isDraining = false
    var isHalted = false
    var haltedAt = MonotonicTime(nanoseconds: 0)
    /// Shared upstreams that retire because of the halt alone.
    var haltRetires: [UpstreamID] = []
    /// The waiter that a halted pool serves.
    var releaser: UInt64?
    /// Upstreams whose retirement was asked for since the actions were last carried out.
    var retired: [UpstreamID] = []
    /// Every other seed carries actions out at the end of the iteration, as the shell does, not
    /// after every call. Until then the model is behind, and nothing is compared.
    let isDeferring: Bool
    var isBehind = false
    var openCeiling: Int
    var pinCeiling: Int
    var serial: UInt64 = 0
    var leases: UInt64 = 0
    /// Upstreams at work that a slow command joined as their first.
    var laneChanges = 0
    /// The last dial that ended.
    var hasDialFailed = false
    /// Upstreams may be retiring of old age, which the model does not see.
    var hasLifetimes: Bool
    var steps = 0
    var failure: String?
    var lastCalls: [StaticString] = []

    init(seed: UInt64) {
        self.seed = seed
        isDeferring = seed % 2 == 1
        random = SeededRandom(seed: seed)
        limits = Simulator.randomLimits(&random)
        pool = PoolStateMachine(
            limits: limits, warmKey: Simulator.keys[0], seed: seed &+ 1, now: now)
        nextTick = now + .milliseconds(100)
        clients = Array(repeating: .free, count: 4 + random.below(40))
        openCeiling = limits.maxOpen
        pinCeiling = limits.maxPinned
        hasLifetimes = limits.maxLifetime > 0
    }

    static func randomLimits(_ random: inout SeededRandom) -> PoolLimits {
        let maxOpen = random.chance(30) ? 1 + random.below(4) : 1 + random.below(16)
        return PoolLimits(
            maxOpen: maxOpen,
            maxPinned: random.chance(50) ? nil : random.below(maxOpen + 1),
            maxIdle: random.chance(50) ? nil : random.below(maxOpen + 1),
            minIdle: random.below(3),
            maxPipeline: random.chance(50) ? 1 + random.below(3) : 1024,
            slowPipeline: 1 + random.below(4),
            maxWaiters: random.chance(20) ? random.below(4) : 1000,
            breakerTime: random.chance(50) ? nil : .milliseconds(Int64(random.below(1000))),
            maxLifetime: random.chance(50) ? 0 : .seconds(Int64(1 + random.below(60))),
            idleTimeout: random.chance(50) ? 0 : .seconds(Int64(1 + random.below(30))),
            pingInterval: random.chance(30) ? 0 : .milliseconds(Int64(200 + random.below(9000))),
            pingTimeout: .milliseconds(Int64(50 + random.below(1000))),
            poolTimeout: .milliseconds(Int64(100 + random.below(2000))),
            closeTimeout: .milliseconds(Int64(random.below(1500))))
    }

    /// Runs until the pool was called `count` times, then heals the world and shuts it down.
    func run(steps count: Int) {
        while steps < count, failure == nil {
            for _ in 0..<(1 + random.below(12)) where failure == nil { step() }
            settleAll()
            if random.chance(1) { quietTime() }
        }
        heal()
        checkLiveness()
        drainAll()
    }

    private func step() {
        switch random.below(100) {
        case ..<46: clientStep()
        case ..<90: serverStep()
        case ..<98: advance(randomDuration())
        default: rareStep()
        }
    }

    private func randomDuration() -> Int64 {
        switch random.below(200) {
        case ..<140: Int64(random.below(1_000_000))
        case ..<190: Int64(random.below(50_000_000))
        case ..<199: Int64(random.below(2_000_000_000))
        default: .seconds(Int64(random.below(60)))
        }
    }

    /// Lets time pass, with a tick every 100 ms and at `nextDeadline`, as the shell does.
    func advance(_ duration: Int64) {
        catchUp()
        let end = now + duration
        while failure == nil {
            var next = nextTick
            if let deadline = pool.nextDeadline, deadline > now { next = min(next, deadline) }
            guard next <= end else { break }
            now = next
            tick()
        }
        now = max(now, end)
    }

    func tick() {
        nextTick = now + .milliseconds(100)
        for slot in upstreams.indices {
            guard let upstream = upstreams[slot] else { continue }
            if upstream.phase == .closing, upstream.closesBy <= now { bury(slot) }
            settled(slot)
        }
        call("tick") { $0.tick(now: now) }
        catchUp()
    }

    /// The model's side of a settle: nothing in flight, no fence, and available means idle.
    func settled(_ slot: Int) {
        guard let upstream = upstreams[slot], upstream.phase == .shared,
            upstream.inFlight.isEmpty, upstream.isAvailable, !upstream.isFenced,
            !upstream.isRetiring
        else { return }
        upstreams[slot]!.phase = .idle
    }

    func settleAll() {
        let emptied = toSettle
        toSettle.removeAll(keepingCapacity: true)
        for id in emptied where failure == nil {
            if upstreams[Int(id.slot)]?.id == id { settled(Int(id.slot)) }
            call("settle") { $0.settle(id, now: now) }
        }
        catchUp()
    }

    /// Calls the pool, carries its actions out, and checks everything.
    func call(_ name: StaticString, _ body: (inout PoolStateMachine) -> Void) {
        guard failure == nil else { return }
        begin(name)
        body(&pool)
        finishCall()
    }

    func begin(_ name: StaticString) {
        steps += 1
        if lastCalls.count == 40 { lastCalls.removeFirst(20) }
        lastCalls.append(name)
    }

    func finishCall() {
        isBehind = true
        if !isDeferring || random.chance(30) { catchUp() }
    }

    /// Carries out what the pool wants done, then compares.
    func catchUp() {
        guard isBehind else { return }
        isBehind = false
        while failure == nil, let action = pool.nextAction() { perform(action) }
        retired.removeAll(keepingCapacity: true)
        check()
    }

    func fail(_ what: String) {
        guard failure == nil else { return }
        let calls = lastCalls.map { "\($0)" }.joined(separator: " ")
        failure = "seed \(seed), step \(steps): \(what)\nlast calls: \(calls)\nlimits: \(limits)"
    }

    /// An upstream's connection is gone, and with it what was in flight there.
    func bury(_ slot: Int) {
        guard let upstream = upstreams[slot] else { return }
        for client in upstream.inFlight where client != Self.nobody { clients[client] = .free }
        if upstream.holder != Self.nobody { clients[upstream.holder] = .free }
        upstreams[slot] = nil
        if graveyard.count == 64 { graveyard.removeFirst(32) }
        graveyard.append(upstream.id)
    }
}
