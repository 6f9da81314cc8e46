// CLIENT LIST and CLIENT KILL as each worker of the pool carries them out among its own clients.
// Cheap properties are tested first, and text is made only for lines that are shown, so a filter
// that matches nobody costs little.

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
    /// The id of the client that sent it.
    let giver: UInt64
    /// For a list: the format of its lines, taken from the server's reply.
    var template = LineTemplate()
    /// For a KILL by address: the server's error if no client has it.
    var nobody: [UInt8] = []
    /// For a list: the most bytes that it may have.
    var most = 0
    /// The client has switched its replies off.
    var isSilent = false

    /// Bytes whose number the client decides.
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
    /// The ids of the clients, and the end of each line in `text`.
    var marks: [(serial: UInt64, end: Int)] = []
    var text: [UInt8] = []
    /// Lines are missing because the list was too long.
    var isCut = false

    /// Merges the lines of several workers by id. Nil if they have more than `most` bytes.
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

/// Decides for one client after the other whether a CLIENT KILL means it.
struct VictimSearch {
    private let filter: KillFilter
    private let killer: UInt64
    /// The low byte of the port in the address filter. Nil without a port; no client has such an
    /// address.
    private let port: UInt8?

    init(_ filter: KillFilter, killer: UInt64) {
        self.filter = filter
        self.killer = killer
        port = filter.address.flatMap(VictimSearch.port)
    }

    /// Cheap tests come first: reading an address is a system call.
    func isMeant(_ client: ClientConnection) -> Bool {
        if filter.skipsSelf, client.serial == killer { return false }
        if let age = filter.maximumAge, client.ageSeconds < age { return false }
        if let type = filter.type, type != client.type { return false }
        if filter.address != nil, client.origin.portMark != port { return false }
        if let user = filter.user, user != client.userName { return false }
        if let address = filter.address, address != Array(client.peerText.utf8) { return false }
        return filter.localAddress == nil || filter.localAddress == client.localBytes
    }

    /// The number behind the last colon. Clients of a unix socket have port 0.
    private static func port(of address: [UInt8]) -> UInt8? {
        guard let colon = address.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        return Word.integer(Array(address[(colon + 1)...]), in: 0...65535)
            .map { UInt8(truncatingIfNeeded: $0) }
    }
}
