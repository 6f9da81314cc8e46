// What makes of a server's count of subscribers one of clients. Pure.

import RESP

/// What is to be put right in a number by which a server counts subscribers.
package struct SubscriberCorrection: Equatable, Sendable {
    /// Clients of hubs.
    private let listeners: UInt32
    /// What the server counts in their place.
    private let hubs: UInt32
    /// What it counts for nobody.
    private let leaving: UInt32

    /// Nil if there is nothing to correct, or if it does not fit into `value`.
    package init?(_ reach: SubscriberCounts.Reach) {
        guard reach.listeners != reach.hubs || reach.leaving != 0,
            (0..<1 << 20).contains(reach.listeners), (0..<1 << 6).contains(reach.hubs),
            (0..<1 << 6).contains(reach.leaving)
        else { return nil }
        listeners = UInt32(reach.listeners)
        hubs = UInt32(reach.hubs)
        leaving = UInt32(reach.leaving)
    }

    /// As the number of an expectation: it is not 0.
    package init(value: UInt32) {
        listeners = value >> 12
        hubs = value >> 6 & 0x3F
        leaving = value & 0x3F
    }

    package var value: UInt32 { listeners << 12 | hubs << 6 | leaving }

    /// The number of clients, where the server counts `number` connections. Some of those that
    /// leave may have left. A server that counts fewer connections than there are hubs has lost
    /// one of them just now.
    package func apply(to number: Int64) -> Int64 {
        if number < hubs { return number }
        return Int64(listeners) &+ max(0, number - Int64(hubs) - Int64(leaving))
    }

    /// The reply `:number` with the number of clients.
    package func apply(to reply: [UInt8]) -> [UInt8] {
        var cursor = ReplyCursor(from: 0)
        guard let item = cursor.next(reply.span), item.type == UInt8(ascii: ":") else {
            return reply
        }
        var result: [UInt8] = []
        Encode.integer(apply(to: item.value), into: &result)
        return result
    }
}
