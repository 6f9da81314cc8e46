// Fuzzes what Sentinels and nodes of clusters say, and the trackers that it is told to. Nothing may
// trap; what is read must be in its bounds; no tracker may want to be called in the past.

internal import Pool
internal import RESP

private let addresses: [NodeAddress] = (0..<4).map { number in
    guard let address = NodeAddress(host: Array("10.0.0.\(number)".utf8), port: 6379) else {
        preconditionFailure("no address")
    }
    return address
}

private func bulk(_ bytes: [UInt8]) -> [UInt8] {
    var output: [UInt8] = []
    Encode.bulk(bytes, into: &output)
    return output
}

/// The input in pieces, which end with NUL.
private func pieces(_ bytes: [UInt8]) -> [[UInt8]] {
    bytes.split(separator: 0, omittingEmptySubsequences: false).map { Array($0) }
}

private func check(_ address: NodeAddress) {
    precondition(address.port > 0 && (1...255).contains(address.host.count), "a strange address")
    precondition(!address.description.isEmpty, "an address without a text")
}

private func checkSentinel(_ replies: [[UInt8]]) {
    var tracker = SentinelTracker(
        sentinels: Array(addresses.prefix(2)), now: MonotonicTime(nanoseconds: 1))
    var now: Int64 = 1
    for (index, reply) in replies.enumerated() {
        let five = (0..<5).map { replies[(index + $0) % replies.count] }
        let answer = SentinelAnswer(replies: five)
        if let claim = answer.claim {
            check(claim.address)
            precondition(claim.epoch >= 0, "an epoch below 0")
        }
        for peer in answer.peers { check(peer.address) }
        let id = SentinelID(raw: UInt32(1 + index % 2))
        now += Int64(reply.count) * 10_000_000
        let time = MonotonicTime(nanoseconds: now)
        switch index % 6 {
        case 0: tracker.connected(id, now: time)
        case 1, 2: tracker.answered(id, answer, now: time)
        case 3: tracker.role(ServerRole(reply), of: addresses[index % 4], now: time)
        case 4:
            if let message = SentinelMessage(reply, about: Array("m".utf8)) {
                tracker.received(message, from: id, now: time)
            } else {
                tracker.tick(now: time)
            }
        default: tracker.disconnected(id, now: time)
        }
        while tracker.nextAction() != nil {}
        precondition(tracker.nextDeadline >= time, "a deadline in the past")
    }
}

private func checkCluster(_ replies: [[UInt8]]) {
    var tracker = ClusterTracker(
        seeds: Array(addresses.prefix(2)), mostNodes: 8, seed: 1,
        now: MonotonicTime(nanoseconds: 1))
    var now: Int64 = 1
    for (index, reply) in replies.enumerated() {
        let asked = addresses[index % 4]
        let rows = ClusterNodeRow.all(in: bulk(reply), asked: asked, prefer: .name)
        precondition(
            ClusterNodeRow.all(in: reply, asked: asked) == nil || reply.first == UInt8(ascii: "$")
                || reply.first == UInt8(ascii: "="), "rows of a reply of another kind")
        for row in rows ?? [] {
            if let address = row.address { check(address) }
            precondition(row.epoch >= 0 && row.id.count == 40, "a strange node")
            precondition(row.slots.allSatisfy { $0.upperBound < UInt16(Slot.count) }, "no slot")
        }
        now += Int64(reply.count) * 10_000_000
        let time = MonotonicTime(nanoseconds: now)
        tracker.answered(asked, rows, now: time)
        let slot = Slot.of(reply.span, start: 0, length: reply.count)
        precondition(slot < UInt16(Slot.count), "a slot of no cluster")
        if index % 3 == 2 { tracker.moved(slot, to: addresses[(index + 1) % 4], now: time) }
        if index % 5 == 4 { tracker.lost(asked, now: time) }
        while let action = tracker.nextAction() {
            guard case .publish(let map) = action else { continue }
            precondition(map.nodes.count <= 8 && map.served <= Slot.count, "a map without bounds")
            precondition(
                map.served == 0
                    || (0..<UInt16(Slot.count)).contains {
                        map.owner(of: $0) != nil
                    }, "a slot without a node")
        }
        precondition(tracker.nextDeadline >= time, "a deadline in the past")
    }
}

@c(LLVMFuzzerTestOneInput)
public func fuzzTopology(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: size))
    guard let first = input.first else { return 0 }
    let replies = pieces(Array(input.dropFirst()))
    if first % 2 == 0 { checkSentinel(replies) } else { checkCluster(replies) }
    return 0
}
