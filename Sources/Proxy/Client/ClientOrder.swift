// CLIENT LIST and CLIENT KILL, as they are carried out once the server has accepted them: by each
// worker of the pool among its own clients. Cheap properties are looked at first, and text is made
// only for lines that are shown: who asks in vain costs the others next to nothing.

import EventLoop
import Pool
import RESP
import Session

/// A CLIENT LIST or CLIENT KILL.
package struct ClientOrder: Sendable {
    enum Kind: Sendable {
        case list(ListFilter)
        case kill(KillFilter)
    }

    let kind: Kind
    /// The id of the client that has given it.
    let giver: UInt64
    /// For a list: what its lines look like, once the server has shown it.
    var template = LineTemplate()
    /// For a KILL by address: the server's words for that nobody has it.
    var nobody: [UInt8] = []
    /// For a list: the most bytes that it may have.
    var most = 0
    /// The client has switched replies off.
    var isSilent = false

    /// Bytes of what a client can make long in it.
    var size: Int {
        switch kind {
        case .list(let filter):
            64 + 16 * (filter.ids?.count ?? 0) + (filter.others.map(ClientOrder.size) ?? 0)
        case .kill(let filter): ClientOrder.size(filter)
        }
    }

    private static func size(_ filter: KillFilter) -> Int {
        64 + 16 * (filter.ids?.count ?? 0) + (filter.address?.count ?? 0)
            + (filter.localAddress?.count ?? 0) + (filter.user?.count ?? 0)
    }
}

/// Lines of CLIENT LIST, in the order of the clients' ids.
package struct ListedClients: Sendable {
    /// The ids, and where the line of each ends.
    var marks: [(serial: UInt64, end: Int)] = []
    var text: [UInt8] = []
    /// There would be more.
    var isCut = false

    /// The lines of several workers in one order; nil if they are more than `most` bytes.
    static func merged(_ parts: [ListedClients], most: Int) -> [UInt8]? {
        let size = parts.reduce(0) { $0 + $1.text.count }
        if size > most || parts.contains(where: { $0.isCut }) { return nil }
        if parts.count == 1 { return parts[0].text }
        var lines: [(serial: UInt64, part: Int, range: Range<Int>)] = []
        for (index, part) in parts.enumerated() {
            var start = 0
            for mark in part.marks {
                lines.append((mark.serial, index, start..<mark.end))
                start = mark.end
            }
        }
        lines.sort { $0.serial < $1.serial }
        var text: [UInt8] = []
        text.reserveCapacity(size)
        for line in lines { text.append(contentsOf: parts[line.part].text[line.range]) }
        return text
    }
}

/// Whom a CLIENT KILL means, found out for one client after the other.
struct VictimSearch {
    private let filter: KillFilter
    private let killer: UInt64
    /// The mark of the port that is asked for; nil if there is none, and then nobody has that address.
    private let port: UInt8?

    init(_ filter: KillFilter, killer: UInt64) {
        self.filter = filter
        self.killer = killer
        port = filter.address.flatMap(VictimSearch.port)
    }

    /// Cheap tests first: an address is a system call.
    func isMeant(_ client: ClientConnection) -> Bool {
        if filter.skipsSelf, client.serial == killer { return false }
        if let age = filter.maximumAge, client.ageSeconds < age { return false }
        if let type = filter.type, type != client.type { return false }
        if filter.address != nil, client.origin.portMark != port { return false }
        if let user = filter.user, user != client.pool.users.name(of: client.key.user) {
            return false
        }
        if let address = filter.address, address != Array(client.peerText.utf8) { return false }
        return filter.localAddress == nil || filter.localAddress == client.localBytes
    }

    /// What follows the last colon. Clients of a unix socket have port 0.
    private static func port(of address: [UInt8]) -> UInt8? {
        guard let colon = address.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        return Word.integer(Array(address[(colon + 1)...]), in: 0...65535)
            .map { UInt8(truncatingIfNeeded: $0) }
    }
}
