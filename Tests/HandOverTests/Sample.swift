import Pool
import Session

@testable import HandOver

// A small file with one of everything. Each secret in it has the word "canary".

let key = PoolKey(user: 0, protocolVersion: 2, database: 0)

func moment(_ nanoseconds: Int64) -> MonotonicTime { MonotonicTime(nanoseconds: nanoseconds) }

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

let sample: HandOverFile = {
    var file = HandOverFile(
        process: CarriedProcess(
            version: "1.4.0", successor: "1.5.0", threads: 2, pid: 4711,
            startedAt: moment(1_000), startedOn: 1_700_000_000, upgradeBegan: moment(2_000),
            lastClient: 99,
            lastUpstream: 17, upgrades: 3),
        configuration: "pools:\n  main:\n    upstream: 127.0.0.1:6379\n")
    file.listeners = [
        CarriedListener(
            descriptor: 5, purpose: .pool("main"), address: "127.0.0.1:6380", number: 0),
        CarriedListener(
            descriptor: 6, purpose: .console, address: "/run/redpool/console", number: 1,
            file: CarriedFile(path: "/run/redpool/console", device: 8, inode: 77)),
        CarriedListener(descriptor: 7, purpose: .http, address: "127.0.0.1:9121", number: 2),
    ]
    file.cells = [sampleCell]
    file.counters = [
        CarriedCounter(pool: "main", name: "bytes", values: [1, 2, 3, 4]),
        CarriedCounter(pool: nil, name: "upgrades", values: [3]),
    ]
    file.callers = [
        CarriedCaller(descriptor: 8, protocolVersion: 2, cuts: true, input: bytes("canary 1"))
    ]
    file.topologies = [
        CarriedTopology(
            pool: "watched",
            source: .primary(
                CarriedPrimary(
                    address: CarriedAddress(host: bytes("10.0.0.1"), port: 6379), epoch: 12))),
        CarriedTopology(
            pool: "cluster",
            source: .cluster(
                CarriedMap(
                    version: 4,
                    nodes: [
                        .init(
                            id: bytes("aa"),
                            address: CarriedAddress(host: bytes("10.0.0.2"), port: 7000),
                            isPrimary: true, primaryID: nil, epoch: 6),
                        .init(
                            id: bytes("bb"),
                            address: CarriedAddress(host: bytes("10.0.0.3"), port: 7000),
                            isPrimary: false, primaryID: bytes("aa"), epoch: -1),
                    ], slots: [.init(first: 0, last: 16_383, node: 0)]))),
    ]
    if case .cluster(var map) = file.topologies[1].source {
        map.scanNumbers = [bytes("bb"), bytes("aa")]
        file.topologies[1].source = .cluster(map)
    }
    file.ticketKeys = bytes("canary 2")
    file.files = [
        CarriedContents(path: "/etc/redpool/password", bytes: bytes("canary 10\n")),
        CarriedContents(path: "/etc/ssl/cert.pem", bytes: nil),
    ]
    return file
}()

private let sampleCell: CarriedCell = {
    var cell = CarriedCell()
    cell.pools = [samplePool]
    cell.servers = [sampleServer]
    cell.blocks = [bytes("*3\r\ncanary 3\r\n")]
    cell.hubs = [CarriedHub(pool: 0, user: 1, server: 0, hasShards: false)]
    cell.clients = [
        client(9, .open), client(10, .waiting(since: moment(50))), client(11, .exclusive),
        client(12, .piped(isOwed: true, isBlind: false)), client(13, .barrier),
        client(14, .loggedOut), client(15, .closing(reason: "drain")),
    ]
    fill(&cell.clients[0])
    cell.upstreams = [
        upstream(20, .idle),
        upstream(21, .shared(isSlow: false)),
        upstream(22, .exclusive(client: 2, isBlocking: true, since: moment(60))),
        upstream(23, .piped(client: 3, since: moment(61))),
        upstream(24, .held(client: 4, sampleHold, CarriedHolder(since: moment(62)))),
        upstream(25, .hub(0)),
    ]
    cell.upstreams[1].expectations = [
        CarriedExpectation(
            client: 0, count: 3, expectation: .plain, command: "get", since: moment(63)),
        CarriedExpectation(client: nil, count: 1, expectation: .fence, since: moment(64)),
    ]
    cell.upstreams[1].fence = CarriedFence(digits: 0x0123_4567_89AB_CDEF, form: .echo)
    cell.upstreams[1].unsent = bytes("canary 4")
    cell.upstreams[2].expectations = [
        CarriedExpectation(
            client: 2, count: 1, expectation: .write, value: 1, isSilent: true, command: "blpop",
            since: moment(65))
    ]
    cell.upstreams[5].partial = bytes("canary 5")
    cell.upstreams[5].spoiled = "dirty"
    return cell
}()

private let samplePool: CarriedPool = {
    var pool = CarriedPool(name: "main")
    pool.users = [
        CarriedUser(
            number: 1, name: bytes("alice"), password: bytes("canary 6"), witness: 4,
            isRefused: false),
        CarriedUser(
            number: 3, name: bytes("default"), password: bytes("canary 7"), witness: 5,
            isRefused: true),
    ]
    pool.lastUser = 3
    pool.newestDefault = 3
    pool.openSince = moment(40)
    pool.isLoginKnown = true
    pool.acceptedKeys = [PoolKey(user: 1, protocolVersion: 3, database: 2)]
    pool.selectedKeys = [PoolKey(user: 1, protocolVersion: 2, database: 2)]
    pool.pause = CarriedPause(
        end: moment(41), review: moment(42), number: 2, runID: bytes("run 1"))
    pool.halt = CarriedHalt(began: moment(43), until: moment(44), closesHolders: true)
    pool.subscriptions.entries = [
        .init(hub: HubRef(0), kind: .channel, name: bytes("news"), messages: 8),
        .init(hub: HubRef(0), kind: .pattern, name: bytes("n*"), messages: 9),
    ]
    pool.subscriptions.subscribers = [.init(client: ClientRef(0), entries: [1, 0])]
    return pool
}()

private let sampleServer: CarriedServer = {
    var facts = CarriedFacts()
    facts.version = bytes("7.0.15")
    facts.runID = bytes("run 1")
    facts.timeoutSeconds = 300
    facts.outputLimit = 1 << 20
    facts.clientLine = "id=3 addr=127.0.0.1:5 name="
    facts.hasTransactions = true
    facts.newProtocol = .spoken
    var server = CarriedServer(
        pool: 0, node: 1, address: "127.0.0.1:6379", isPrimary: true, facts: facts,
        runID: bytes("run 1"), epoch: 2)
    server.formerRunIDs = [bytes("run 0")]
    server.departure = CarriedDeparture(by: moment(45), reason: "config_changed")
    server.fences = [CarriedFenceForm(user: 1, form: .ping, since: moment(46))]
    return server
}()

private let sampleHold: HeldState = {
    var held = CarriedHold()
    held.isInTransaction = true
    held.isWatching = true
    held.channels = 2
    held.flags = [.noEvict, .readOnly]
    return HeldState(carried: held)
}()

private func client(_ descriptor: Int32, _ mode: CarriedMode) -> CarriedClient {
    CarriedClient(
        descriptor: descriptor, serial: UInt64(descriptor) + 100, pool: 0, server: 0, listener: 0,
        mode: mode, session: CarriedSession(key: key), connectedAt: moment(30),
        lastActivity: moment(31))
}

private func fill(_ client: inout CarriedClient) {
    client.session.key.user = 1
    client.session.writes = WriteTrail(
        upstream: UpstreamID(slot: 21, generation: 1), isSpread: true)
    client.session.openTransaction = 2
    client.session.replyMode = .skipNext
    client.session.hasSelected = true
    client.session.identity = ClientIdentity(
        name: bytes("worker"), libraryName: bytes("redis-py"), libraryVersion: bytes("5.0"))
    client.session.members = [
        QueuedMember(
            1, .mirrorName, 0, [bytes("client"), bytes("setname"), bytes("x")], behind: nil)
    ]
    client.session.redirection = 109
    client.session.clientUser = bytes("bob")
    client.leavesBy = moment(32)
    client.counts = CarriedCounts(commands: 5, bytesIn: 100, bytesTaken: 200)
    client.lastCommand = "client|list"
    client.monitor = CarriedOwnCommands(
        sent: [.init(address: bytes("127.0.0.1:9"), text: bytes("\"PING\""))],
        aliases: [.init(seen: bytes("10.0.0.9:9"), local: bytes("127.0.0.1:9"))])
    client.trackers = [110, 111]
    client.openMulti = CarriedMulti(
        stage: .sent, bytes: bytes("canary 8"), members: 2, slot: 77, isOneSlot: true,
        isSpecial: false, isLost: false, isDoomed: false, isSilent: true)
    client.input = bytes("*2\r\n$4\r\nAUTH\r\n$8\r\ncanary 9")
    client.output = [.bytes(bytes("+canary 10\r\n")), .block(0, from: 2, to: 14)]
}

private func upstream(_ descriptor: Int32, _ use: CarriedUse) -> CarriedUpstream {
    var upstream = CarriedUpstream(
        descriptor: descriptor, server: 0,
        id: UpstreamID(slot: UInt32(descriptor), generation: 1), serial: UInt64(descriptor),
        key: key, address: "127.0.0.1:6379",
        times: CarriedTimes(
            dialledAt: moment(10), connectedAt: moment(11), idleSince: moment(12),
            activeAt: moment(13), waitingSince: moment(14)),
        use: use)
    upstream.origin.epoch = 2
    upstream.origin.runID = bytes("run 1")
    upstream.origin.serverID = 55
    upstream.origin.isIdentified = true
    return upstream
}
