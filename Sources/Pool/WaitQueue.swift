// The waiters for upstreams. Each is on two lists: that of its group and kind, which says who is
// served next, and that of the whole pool by age, whose head has the next deadline.

/// The waiters of one group and kind, first come first served.
struct WaitList {
    var head = none
    var tail = none
    var count = 0
}

/// One place in the queue.
struct WaitNode {
    var waiter = WaiterID(raw: 0)
    var generation: UInt32 = 0
    var kind = LeaseKind.shared
    var isWaiting = false
    var group = none
    /// Order of arrival over the whole pool.
    var sequence: UInt64 = 0
    var since: Int64 = 0
    var previous = none
    var next = none
    var older = none
    var newer = none
}

/// The storage of all waiters, reused, and their order by age.
struct WaitQueue: ~Copyable {
    private(set) var nodes: [WaitNode] = []
    private var firstFree = none
    private(set) var oldest = none
    private var newest = none
    private(set) var count = 0
    private var sequence: UInt64 = 0
    private(set) var countByKind = ByKind(0)

    /// Puts a waiter at the end of `list` and of the queue.
    mutating func append(
        _ waiter: WaiterID, kind: LeaseKind, group: Int, now: Int64, to list: inout WaitList
    ) -> WaitTicket {
        let index = allocate()
        sequence += 1
        nodes[index].waiter = waiter
        nodes[index].kind = kind
        nodes[index].isWaiting = true
        nodes[index].group = group
        nodes[index].sequence = sequence
        nodes[index].since = now
        nodes[index].next = none
        nodes[index].previous = list.tail
        if list.tail >= 0 { nodes[list.tail].next = index } else { list.head = index }
        list.tail = index
        list.count += 1
        nodes[index].newer = none
        nodes[index].older = newest
        if newest >= 0 { nodes[newest].newer = index } else { oldest = index }
        newest = index
        count += 1
        countByKind[kind] += 1
        return WaitTicket(index: Int32(index), generation: nodes[index].generation)
    }

    /// Takes a waiter off `list`, which must be its own, and off the queue.
    mutating func remove(_ index: Int, from list: inout WaitList) {
        let node = nodes[index]
        if node.previous >= 0 {
            nodes[node.previous].next = node.next
        } else {
            list.head = node.next
        }
        if node.next >= 0 {
            nodes[node.next].previous = node.previous
        } else {
            list.tail = node.previous
        }
        list.count -= 1
        if node.older >= 0 { nodes[node.older].newer = node.newer } else { oldest = node.newer }
        if node.newer >= 0 { nodes[node.newer].older = node.older } else { newest = node.older }
        count -= 1
        countByKind[node.kind] -= 1
        nodes[index].isWaiting = false
        nodes[index].generation &+= 1
        nodes[index].next = firstFree
        firstFree = index
    }

    /// The waiter that a ticket stands for, or nil if it waits no longer.
    func index(of ticket: WaitTicket) -> Int? {
        let index = Int(ticket.index)
        guard nodes.indices.contains(index), nodes[index].isWaiting,
            nodes[index].generation == ticket.generation
        else { return nil }
        return index
    }

    /// The time of all waiters has stood still since `start`.
    mutating func shift(since start: Int64, to now: Int64) {
        var node = oldest
        while node >= 0 {
            nodes[node].since += now - max(nodes[node].since, start)
            node = nodes[node].newer
        }
    }

    private mutating func allocate() -> Int {
        if firstFree >= 0 {
            let index = firstFree
            firstFree = nodes[index].next
            return index
        }
        nodes.append(WaitNode())
        return nodes.count - 1
    }
}
