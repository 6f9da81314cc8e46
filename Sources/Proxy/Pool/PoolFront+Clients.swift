// The clients of a pool on this worker: look-up by id, CLIENT LIST, CLIENT KILL, release of
// tracking targets.

import Config
import EventLoop
import Pool
import Session

extension PoolFront {
    /// The client of this pool with this id; nil if it is on another worker.
    func client(serial: UInt64) -> ClientConnection? {
        worker.clients.first(generation: UInt32(truncatingIfNeeded: serial)) {
            $0.serial == serial && $0.pool === self
        }
    }

    private func client(number: Int64) -> ClientConnection? {
        UInt64(exactly: number).flatMap { client(serial: $0) }
    }

    /// Carries out an order from a client of another worker.
    func carryOut(_ order: ClientOrder) -> WorkerAnswer {
        switch order.kind {
        case .list(let filter): .listed(list(filter, order))
        case .kill(let filter): .killed(kill(filter, by: order.giver).count)
        }
    }

    // MARK: CLIENT LIST

    /// The lines of this worker's clients.
    func list(_ filter: ListFilter, _ order: ClientOrder) -> ListedClients {
        let template = order.template
        let most = order.most
        var found = filter.others.map { clients($0, of: order.giver) } ?? clients(filter)
        found.sort { $0.serial < $1.serial }
        var listed = ListedClients()
        listed.marks.reserveCapacity(found.count)
        let length = template.length + PoolFront.valuesLength
        listed.text.reserveCapacity(max(0, min(found.count * length, most)))
        for client in found {
            template.append(client, to: &listed.text)
            listed.marks.append((client.serial, listed.text.count))
            listed.isCut = listed.text.count > most
            if listed.isCut { break }
        }
        return listed
    }

    /// Approximate length of the client's own values in its line.
    private static let valuesLength = 96
    /// Up to this many ids are looked up one by one. With more, all clients are scanned once.
    private static let fewIDs = 16

    private func clients(_ filter: ListFilter) -> [ClientConnection] {
        if let ids = filter.ids, ids.count <= PoolFront.fewIDs {
            return ids.compactMap { client(number: $0) }
        }
        var found: [ClientConnection] = []
        worker.clients.forEach { client in
            guard client.pool === self else { return }
            if let type = filter.type, type != client.type { return }
            if let ids = filter.ids, !ids.contains(Int64(clamping: client.serial)) { return }
            found.append(client)
        }
        return found
    }

    // MARK: CLIENT KILL

    /// Closes the clients of this worker that match, except the killer itself.
    func kill(_ filter: KillFilter, by killer: UInt64) -> (count: Int, isSuicide: Bool) {
        let victims = clients(filter, of: killer)
        var isSuicide = false
        for victim in victims {
            if victim.serial == killer { isSuicide = true } else { victim.close(.killed) }
        }
        return (victims.count, isSuicide)
    }

    /// The clients of this worker that match.
    private func clients(_ filter: KillFilter, of giver: UInt64) -> [ClientConnection] {
        let search = VictimSearch(filter, killer: giver)
        if let ids = filter.ids, ids.count <= PoolFront.fewIDs {
            return ids.compactMap { client(number: $0) }.filter { search.isMeant($0) }
        }
        var found: [ClientConnection] = []
        worker.clients.forEach { client in
            guard client.pool === self else { return }
            if let ids = filter.ids, !ids.contains(Int64(clamping: client.serial)) { return }
            if search.isMeant(client) { found.append(client) }
        }
        return found
    }
}

extension PoolFront {
    /// The template for the lines of CLIENT LIST: the known one, or one taken from this reply. Nil
    /// if the reply is not text.
    func lineTemplate(_ reply: [UInt8]) -> LineTemplate? {
        guard let text = ClientLine.text(of: reply) else { return nil }
        let known = primary.facts.clientLine
        if !known.isEmpty { return LineTemplate(known[...]) }
        return LineTemplate(text.prefix { $0 != "\n" })
    }
}

extension PoolFront {
    func releaseTarget(_ serial: UInt64, from tracker: ClientConnection) {
        if serial == 0 { return }
        releaseTarget(serial, from: tracker.serial)
        for other in otherWorkers {
            worker.group.mailboxes[other].post(
                .release(pool: config.name, target: serial, tracker: tracker.serial))
        }
    }

    /// Releases the target if it is on this worker.
    func releaseTarget(_ serial: UInt64, from tracker: UInt64) {
        guard let target = client(serial: serial) else { return }
        worker.orders.targets.removeAll { $0.client == target.id && $0.tracker == tracker }
        target.release(from: tracker)
    }
}
