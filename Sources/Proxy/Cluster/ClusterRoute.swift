// Where the commands of a pool in front of a cluster go, as one worker sees it.

import EventLoop
import Pool
import RESP
import Topology

/// Which of a pool's servers serves which slot. The map comes from the main thread, whole; MOVED
/// changes one slot at once, until the next map.
final class ClusterRoute {
    /// Rises when a slot gets another owner. Versions of two workers are not compared.
    private(set) var version: UInt64 = 0
    /// The last one that was published; nil before the first.
    private(set) var map: SlotMap?
    /// For each slot the number of its server, or `nobody`.
    let owners: UnsafeMutablePointer<UInt16>
    /// The servers by their numbers. A number is free again when its server is gone.
    private var servers: ContiguousArray<Server?> = []
    /// The same, for what each command asks: without a retain.
    private var unretained: UnsafeMutablePointer<Unmanaged<Server>?>
    private var room = 16

    /// When a slot has last left a node, wholly or in part, as far as is known; nil if none has.
    private(set) var changedAt: MonotonicTime?
    /// Slots on their way to another node: keys of them are there already.
    private var leaving: Set<UInt16> = []

    /// What the main thread has been told since `toldSince`.
    private var told: Set<ClusterSign.Kind> = []
    private var toldSince = MonotonicTime(nanoseconds: 0)
    private static let tellInterval = Int64.milliseconds(100)
    /// There are no more slots than this, so more is made up.
    private static let mostTold = Slot.count

    /// Clients with commands that wait for a time, or for another map.
    private var paused: ContiguousArray<SlotID> = []
    private let worker: Worker
    private var timer: Timer?
    private var wakesAt = Int64.max

    private static let nobody = UInt16.max

    init(worker: Worker) {
        self.worker = worker
        owners = .allocate(capacity: Slot.count)
        owners.initialize(repeating: ClusterRoute.nobody, count: Slot.count)
        unretained = .allocate(capacity: room)
        unretained.initialize(repeating: nil, count: room)
    }

    /// Whether the main thread is to be told. One sign of each kind in 100 ms is enough.
    func isNews(_ kind: ClusterSign.Kind) -> Bool {
        if worker.now - toldSince >= ClusterRoute.tellInterval {
            told.removeAll(keepingCapacity: true)
            toldSince = worker.now
        }
        return told.count < ClusterRoute.mostTold && told.insert(kind).inserted
    }

    /// The client has commands that wait for a time or for another map.
    func pause(_ client: ClientConnection) {
        if !paused.contains(client.id) { paused.append(client.id) }
    }

    /// Paused clients are looked at then at the latest.
    func wake(at time: MonotonicTime) {
        if timer == nil {
            timer = Timer(
                loop: worker.loop, owner: Unmanaged.passUnretained(self).toOpaque(),
                callback: routeTimer)
        }
        guard time.nanoseconds < wakesAt else { return }
        wakesAt = time.nanoseconds
        timer?.start(at: wakesAt)
    }

    /// The paused clients look whether their commands can go on.
    func wakePaused() {
        let waiting = paused
        paused = []
        for id in waiting {
            guard let client = worker.clients[id] else { continue }
            if client.strands != nil || client.soleRedirect != nil { worker.ready(client) }
        }
    }

    fileprivate func timeIsUp() {
        worker.updateNow()
        wakesAt = .max
        wakePaused()
    }

    deinit {
        owners.deallocate()
        unretained.deallocate()
    }

    /// The server of a slot; nil if nobody has it.
    @inline(__always)
    func owner(of slot: UInt16) -> Server? {
        let number = Int(owners[Int(slot) & (Slot.count &- 1)])
        return number < servers.count ? servers[number] : nil
    }

    /// The same without a retain. The pool keeps a server for as long as a client has it.
    @inline(__always)
    func unretainedOwner(of slot: UInt16) -> Unmanaged<Server>? {
        let number = Int(owners[Int(slot) & (Slot.count &- 1)])
        return number < room ? unretained[number] : nil
    }

    /// The server with this number; nil if it is gone.
    func server(at number: UInt32) -> Server? {
        Int(number) < servers.count ? servers[Int(number)] : nil
    }

    /// Gives a server its number.
    func add(_ server: Server) -> UInt32 {
        let free = servers.firstIndex { $0 == nil } ?? servers.count
        if free == servers.count { servers.append(nil) }
        servers[free] = server
        if free >= room { grow() }
        unretained[free] = Unmanaged.passUnretained(server)
        return UInt32(truncatingIfNeeded: free)
    }

    /// Nobody has the slots of this server any more.
    func disown(_ server: Server) {
        let number = UInt16(truncatingIfNeeded: server.number)
        for slot in 0..<Slot.count where owners[slot] == number {
            owners[slot] = ClusterRoute.nobody
        }
    }

    /// A server is gone: nobody has its slots.
    func remove(_ server: Server) {
        guard let number = servers.firstIndex(where: { $0 === server }) else { return }
        disown(server)
        servers[number] = nil
        unretained[number] = nil
    }

    private func grow() {
        let bigger = UnsafeMutablePointer<Unmanaged<Server>?>.allocate(capacity: 2 * room)
        bigger.initialize(repeating: nil, count: 2 * room)
        for number in 0..<room { bigger[number] = unretained[number] }
        unretained.deallocate()
        unretained = bigger
        room *= 2
    }

    /// Another map is in force. `server` gives the server of an owner, which is made if need be;
    /// nil if it cannot be. Returns the servers that have lost slots.
    func take(_ new: SlotMap, server: (ClusterNode) -> Server?) -> [Server] {
        map = new
        var numbers: [ClusterNode: UInt16] = [:]
        var losers: Set<UInt16> = []
        var hasChanged = false
        for slot in 0..<Slot.count {
            var number = ClusterRoute.nobody
            if let owner = new.owner(of: UInt16(slot)) {
                if let known = numbers[owner] {
                    number = known
                } else {
                    number = server(owner).map { UInt16(truncatingIfNeeded: $0.number) } ?? number
                    numbers[owner] = number
                }
            }
            if owners[slot] == number { continue }
            hasChanged = true
            losers.insert(owners[slot])
            owners[slot] = number
            leaving.remove(UInt16(slot))
        }
        if hasChanged {
            if version > 0 { changedAt = worker.now }
            version += 1
        }
        return servers.compactMap { server in
            server.flatMap { losers.contains(UInt16(truncatingIfNeeded: $0.number)) ? $0 : nil }
        }
    }

    /// A node has said in MOVED that this server has the slot. False if that is known.
    func move(_ slot: UInt16, to server: Server) -> Bool {
        let number = UInt16(truncatingIfNeeded: server.number)
        guard owners[Int(slot)] != number else { return false }
        owners[Int(slot)] = number
        version += 1
        changedAt = worker.now
        leaving.remove(slot)
        server.setReplica(false)
        return true
    }

    /// A node has said in ASK that it gives this slot away.
    func leaves(_ slot: UInt16) {
        changedAt = worker.now
        leaving.insert(slot)
    }

    /// Whether keys of a slot may be on two nodes. A replica of Redis does not say so: for it, keys
    /// that have left its primary do not exist. Where one slot leaves, others follow.
    func mayBeLeaving(_ slot: UInt16, now: MonotonicTime) -> Bool {
        guard let changedAt else { return false }
        return now - changedAt < ClusterRoute.unrest || leaving.contains(slot)
    }

    private static let unrest = Int64.seconds(5)

    /// The servers that have slots, each once, in the order of their first slots.
    var primaries: [Server] {
        var seen: Set<UInt16> = []
        var found: [Server] = []
        var last = ClusterRoute.nobody
        for slot in 0..<Slot.count where owners[slot] != last {
            last = owners[slot]
            if seen.insert(last).inserted, let server = owner(of: UInt16(truncatingIfNeeded: slot))
            {
                found.append(server)
            }
        }
        return found
    }

    /// Whether this server has slots.
    func hasSlots(_ server: Server) -> Bool {
        let number = UInt16(truncatingIfNeeded: server.number)
        return (0..<Slot.count).contains { owners[$0] == number }
    }

    /// How many slots have a server.
    var served: Int { (0..<Slot.count).count { owners[$0] != ClusterRoute.nobody } }
}

private func routeTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<ClusterRoute>.fromOpaque(owner).takeUnretainedValue().timeIsUp()
}
