import Pool
import Session
import TestSupport

@testable import HandOver

// Random hand-over files whose parts fit together, from a seed.

struct RandomFile {
    private var random: SeededRandom
    private var descriptor: Int32 = 3
    private var serial: UInt64 = 0

    init(seed: UInt64) { random = SeededRandom(seed: seed &* 0xD6E8_FEB8_6659_FD93) }

    mutating func make() -> HandOverFile {
        var file = HandOverFile(process: process(), configuration: text(400))
        file.listeners = list(3) { made in
            CarriedListener(
                descriptor: made.newDescriptor(), purpose: made.purpose(), address: made.text(20),
                number: UInt16(made.serial % 65_536),
                file: made.maybe {
                    CarriedFile(path: $0.text(30), device: $0.any(), inode: $0.any())
                })
        }
        for index in file.listeners.indices { file.listeners[index].number = UInt16(index) }
        file.cells = list(3) { $0.cell() }
        file.counters = list(5) { made in
            CarriedCounter(
                pool: made.maybe { $0.text(9) }, name: made.text(20),
                values: made.list(9) { $0.count() })
        }
        file.callers = list(2) { made in
            CarriedCaller(
                descriptor: made.newDescriptor(), protocolVersion: UInt8(2 + made.below(2)),
                cuts: made.flip(), input: made.bytes(20))
        }
        file.topologies = list(2) { $0.topology() }
        file.ticketKeys = bytes(80)
        file.files = list(4) { made in
            CarriedContents(path: made.text(30), bytes: made.maybe { $0.bytes(90) })
        }
        file.first = maybe { $0.text(200) }
        return file
    }

    // MARK: Small values

    private mutating func below(_ bound: Int) -> Int { random.below(bound) }
    private mutating func flip() -> Bool { random.chance(50) }
    private mutating func any() -> UInt64 { random.next() }
    private mutating func count() -> UInt64 { random.next() >> UInt64(4 + below(60)) }
    private mutating func word() -> UInt32 { UInt32(truncatingIfNeeded: random.next()) }

    private mutating func time() -> MonotonicTime {
        MonotonicTime(nanoseconds: Int64(bitPattern: random.next() >> 1))
    }

    private mutating func text(_ most: Int) -> String {
        let letters = Array("abcäöü漢🙂:/.-_ \n")
        return String((0..<below(most + 1)).map { _ in letters[random.below(letters.count)] })
    }

    private mutating func bytes(_ most: Int) -> [UInt8] { random.bytes(below(most + 1)) }

    private mutating func maybe<Value>(_ make: (inout RandomFile) -> Value) -> Value? {
        flip() ? make(&self) : nil
    }

    private mutating func list<Value>(
        _ most: Int, _ make: (inout RandomFile) -> Value
    ) -> [Value] {
        (0..<below(most + 1)).map { _ in make(&self) }
    }

    private mutating func one<Value>(of values: [Value]) -> Value { values[below(values.count)] }

    private mutating func newDescriptor() -> Int32 {
        descriptor += 1 + Int32(below(3))
        return descriptor
    }

    private mutating func newSerial() -> UInt64 {
        serial += 1 + UInt64(below(1000))
        return serial
    }

    // MARK: The process

    private mutating func process() -> CarriedProcess {
        CarriedProcess(
            version: text(8), successor: text(8), threads: UInt32(1 + below(64)),
            pid: Int32(below(99_999)), startedAt: time(), startedOn: Int64(bitPattern: any()),
            upgradeBegan: time(),
            lastClient: count(), lastUpstream: count(), upgrades: word())
    }

    private mutating func purpose() -> CarriedListener.Purpose {
        switch below(3) {
        case 0: .pool(text(9))
        case 1: .console
        default: .http
        }
    }

    private mutating func topology() -> CarriedTopology {
        if flip() {
            let primary = CarriedPrimary(address: address(), epoch: Int64(bitPattern: any()))
            return CarriedTopology(pool: text(9), source: .primary(primary))
        }
        let nodes = list(4) { made in
            CarriedMap.Node(
                id: made.bytes(40), address: made.address(), isPrimary: made.flip(),
                primaryID: made.maybe { $0.bytes(40) }, epoch: Int64(bitPattern: made.any()))
        }
        var slots: [CarriedMap.Slots] = []
        var next = 0
        while !nodes.isEmpty, next < 16_384, random.chance(80) {
            let first = next + below(16_384 - next)
            let last = first + below(16_384 - first)
            slots.append(
                CarriedMap.Slots(
                    first: UInt16(first), last: UInt16(last), node: UInt16(below(nodes.count))))
            next = last + 1
        }
        var map = CarriedMap(version: any(), nodes: nodes, slots: slots)
        map.scanNumbers = list(4) { $0.bytes(40) }
        return CarriedTopology(pool: text(9), source: .cluster(map))
    }

    private mutating func address() -> CarriedAddress {
        CarriedAddress(host: bytes(20), port: UInt16(below(65_536)))
    }

    // MARK: A cell

    private mutating func cell() -> CarriedCell {
        var cell = CarriedCell()
        cell.pools = (0...below(2)).map { _ in pool() }
        cell.servers = cell.pools.indices.map { server(of: UInt32($0), isPrimary: flip()) }
        cell.servers += list(2) { made in
            made.server(of: UInt32(made.below(cell.pools.count)), isPrimary: false)
        }
        cell.blocks = list(2) { $0.bytes(50) }
        cell.clients = list(6) { $0.client(in: cell) }
        cell.upstreams = list(4) { $0.upstream(in: cell, use: nil) }
        for (position, client) in cell.clients.enumerated() {
            guard let use = use(by: UInt32(position), client.mode) else { continue }
            cell.upstreams.append(upstream(in: cell, use: use))
        }
        addHubs(to: &cell)
        for index in cell.upstreams.indices {
            cell.upstreams[index].id = UpstreamID(slot: UInt32(index), generation: word())
        }
        return cell
    }

    private mutating func pool() -> CarriedPool {
        var pool = CarriedPool(name: text(12))
        pool.lastUser = UInt32(below(9))
        for number in 0..<pool.lastUser where flip() {
            pool.users.append(
                CarriedUser(
                    number: number + 1, name: bytes(12), password: bytes(24), witness: any(),
                    isRefused: flip()))
        }
        pool.newestDefault = pool.users.isEmpty ? nil : maybe { $0.one(of: pool.users).number }
        pool.openSince = time()
        pool.defaultNeedsLogin = flip()
        pool.isLoginKnown = flip()
        pool.acceptedKeys = list(3) { $0.key(0) }
        pool.selectedKeys = list(3) { $0.key(0) }
        pool.pause = maybe { made in
            CarriedPause(
                end: made.time(), review: made.time(), number: made.word(),
                runID: made.maybe { $0.bytes(40) })
        }
        pool.halt = maybe {
            CarriedHalt(began: $0.time(), until: $0.time(), closesHolders: $0.flip())
        }
        return pool
    }

    private mutating func key(_ user: UInt32) -> PoolKey {
        PoolKey(user: user, protocolVersion: UInt8(2 + below(2)), database: word())
    }

    private mutating func user(of pool: CarriedPool) -> UInt32 {
        pool.users.isEmpty || flip() ? 0 : one(of: pool.users).number
    }

    private mutating func server(of pool: UInt32, isPrimary: Bool) -> CarriedServer {
        var facts = CarriedFacts()
        facts.version = maybe { $0.bytes(9) }
        facts.valkeyVersion = maybe { $0.bytes(9) }
        facts.runID = maybe { $0.bytes(40) }
        facts.timeoutSeconds = maybe { Int64($0.below(1 << 31)) }
        facts.outputLimit = count()
        facts.clientLine = text(60)
        facts.hasTransactions = flip()
        facts.newProtocol = one(of: CarriedFacts.NewProtocol.allCases)
        var server = CarriedServer(
            pool: pool, node: any(), address: text(20), isPrimary: isPrimary, facts: facts,
            runID: maybe { $0.bytes(40) }, epoch: Int64(bitPattern: any()))
        server.formerRunIDs = list(2) { $0.bytes(40) }
        server.areSeveral = flip()
        server.departure = maybe { CarriedDeparture(by: $0.time(), reason: $0.text(9)) }
        server.fences = list(3) {
            CarriedFenceForm(
                user: $0.word(), form: $0.one(of: FenceWord.allCases), since: $0.time())
        }
        return server
    }

    // MARK: Clients

    private mutating func client(in cell: CarriedCell) -> CarriedClient {
        let pool = UInt32(below(cell.pools.count))
        let servers = cell.servers.indices.filter { cell.servers[$0].pool == pool }
        var client = CarriedClient(
            descriptor: newDescriptor(), serial: newSerial(), pool: pool,
            server: maybe { UInt32($0.one(of: servers)) }, listener: UInt16(below(65_536)),
            mode: mode(), session: session(user(of: cell.pools[Int(pool)])), connectedAt: time(),
            lastActivity: time())
        client.leavesBy = maybe { $0.time() }
        client.counts = CarriedCounts(commands: count(), bytesIn: count(), bytesTaken: count())
        client.lastCommand = text(12)
        client.hasEnded = flip()
        client.monitor = maybe { made in
            CarriedOwnCommands(
                sent: made.list(3) { .init(address: $0.bytes(20), text: $0.bytes(30)) },
                aliases: made.list(2) { .init(seen: $0.bytes(20), local: $0.bytes(20)) })
        }
        client.trackers = list(3) { $0.any() }
        client.loggedOutAt = any()
        client.hasOldInput = flip()
        client.isReadOnly = flip()
        client.openMulti = maybe { $0.multi() }
        client.input = bytes(60)
        client.output = list(3) { $0.output(cell.blocks) }
        return client
    }

    private mutating func output(_ blocks: [[UInt8]]) -> CarriedOutput {
        guard !blocks.isEmpty, flip() else { return .bytes(bytes(30)) }
        let block = below(blocks.count)
        let start = below(blocks[block].count + 1)
        let end = start + below(blocks[block].count - start + 1)
        return .block(UInt32(block), from: UInt32(start), to: UInt32(end))
    }

    private mutating func multi() -> CarriedMulti {
        CarriedMulti(
            stage: one(of: CarriedMulti.Stage.allCases), bytes: maybe { $0.bytes(40) },
            members: word(), slot: maybe { UInt16($0.below(16_384)) }, isOneSlot: flip(),
            isSpecial: flip(), isLost: flip(), isDoomed: flip(), isSilent: flip())
    }

    private mutating func mode() -> CarriedMode {
        switch below(8) {
        case 0: .waiting(since: time())
        case 1: .barrier
        case 2: .exclusive
        case 3: .piped(isOwed: flip(), isBlind: flip())
        case 4: .loggedOut
        case 5: .closing(reason: text(9))
        default: .open
        }
    }

    private mutating func session(_ user: UInt32) -> CarriedSession {
        var session = CarriedSession(key: key(user))
        session.writes = WriteTrail(
            upstream: maybe { UpstreamID(slot: $0.word(), generation: $0.word()) },
            isSpread: flip())
        session.openTransaction = maybe { $0.word() }
        session.replyMode = one(of: ReplyMode.allCases)
        session.hasReset = flip()
        session.hasSelected = flip()
        session.identity = identity()
        for _ in 0..<below(4) {
            session.members.append(
                QueuedMember(
                    below(1 << 20), one(of: Expectation.allCases), word(),
                    list(3) { $0.bytes(9) }, login: list(2) { $0.bytes(9) },
                    behind: session.members.last))
        }
        session.hasQueuedStranger = flip()
        session.redirection = any()
        session.clientUser = maybe { $0.bytes(9) }
        session.changesUserLater = flip()
        return session
    }

    private mutating func identity() -> ClientIdentity {
        ClientIdentity(name: bytes(9), libraryName: bytes(9), libraryVersion: bytes(9))
    }

    // MARK: Upstreams

    private mutating func use(by client: UInt32, _ mode: CarriedMode) -> CarriedUse? {
        switch mode {
        case .exclusive: .exclusive(client: client, isBlocking: flip(), since: time())
        case .piped: .piped(client: client, since: time())
        case .open, .waiting, .barrier: maybe { $0.held(by: client) }
        case .loggedOut, .closing: nil
        }
    }

    private mutating func held(by client: UInt32) -> CarriedUse {
        var held = CarriedHold()
        held.isInTransaction = flip()
        held.isWatching = flip()
        held.channels = word()
        held.patterns = word()
        held.shards = word()
        held.isTracking = flip()
        held.isBroadcast = flip()
        held.isMonitoring = flip()
        for flag in [ConnectionFlags.noEvict, .noTouch, .readOnly, .importSource] where flip() {
            held.flags.insert(flag)
        }
        held.hasMembers = flip()
        held.remembersKeys = flip()
        held.isTarget = flip()
        held.isTainted = flip()
        return .held(
            client: client, HeldState(carried: held),
            CarriedHolder(since: time(), isBlocking: flip(), isDoubtful: flip()))
    }

    private mutating func upstream(in cell: CarriedCell, use: CarriedUse?) -> CarriedUpstream {
        let server = below(cell.servers.count)
        let pool = cell.pools[Int(cell.servers[server].pool)]
        var upstream = CarriedUpstream(
            descriptor: newDescriptor(), server: UInt32(server),
            id: UpstreamID(slot: 0, generation: 0), serial: any(), key: key(user(of: pool)),
            address: text(20),
            times: CarriedTimes(
                dialledAt: time(), connectedAt: time(), idleSince: time(), activeAt: time(),
                waitingSince: time()),
            use: use ?? (flip() ? .idle : .shared(isSlow: flip())))
        upstream.origin.epoch = maybe { Int64(bitPattern: $0.any()) }
        upstream.origin.runID = maybe { $0.bytes(40) }
        upstream.origin.serverID = maybe { Int64(bitPattern: $0.any()) }
        upstream.origin.isIdentified = flip()
        upstream.origin.lacksLogin = flip()
        upstream.origin.isReadOnly = flip()
        upstream.origin.departure = maybe {
            CarriedDeparture(by: $0.time(), reason: $0.text(9))
        }
        upstream.identity = identity()
        upstream.fence = maybe {
            CarriedFence(digits: $0.any(), form: $0.one(of: FenceWord.allCases))
        }
        upstream.spoiled = maybe { $0.text(9) }
        upstream.answered = any()
        upstream.unsent = bytes(40)
        upstream.partial = bytes(40)
        if upstream.use != .idle {
            upstream.expectations = list(4) { $0.expectation(cell, upstream.use.client) }
        }
        return upstream
    }

    private mutating func expectation(
        _ cell: CarriedCell, _ client: UInt32?
    ) -> CarriedExpectation {
        let whose = client ?? (cell.clients.isEmpty ? nil : UInt32(below(cell.clients.count)))
        return CarriedExpectation(
            client: flip() ? whose : nil, count: UInt32(1 + below(9)),
            expectation: one(of: Expectation.allCases), value: word(), isSilent: flip(),
            command: text(9), since: time())
    }

    private mutating func addHubs(to cell: inout CarriedCell) {
        for _ in 0..<below(3) {
            let server = below(cell.servers.count)
            let pool = cell.servers[server].pool
            let hub = UInt32(cell.hubs.count)
            cell.hubs.append(
                CarriedHub(
                    pool: pool, user: user(of: cell.pools[Int(pool)]), server: UInt32(server),
                    hasShards: flip()))
            var made = upstream(in: cell, use: .hub(hub))
            made.server = UInt32(server)
            made.key.user = cell.hubs[Int(hub)].user
            cell.upstreams.append(made)
            cell.pools[Int(pool)].subscriptions.entries += list(3) { made in
                .init(
                    hub: HubRef(hub), kind: made.one(of: SubscriptionKind.allCases),
                    name: made.bytes(9), messages: made.any())
            }
        }
        for (position, client) in cell.clients.enumerated() {
            let known = cell.pools[Int(client.pool)].subscriptions.entries.count
            guard known > 0, flip() else { continue }
            cell.pools[Int(client.pool)].subscriptions.subscribers.append(
                .init(
                    client: ClientRef(UInt32(position)),
                    entries: list(4) { UInt32($0.below(known)) }))
        }
    }
}
