// The way of a CLIENT LIST or CLIENT KILL: to the server, which judges it; then, one after the other
// and some in each turn of the loop, to all workers of the pool; then the answer. Nothing of a client
// goes on behind it before that, so a pipeline of them takes a turn for each.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Remembers what has just been sent, until the server has judged it.
    func sent(_ kind: ClientOrder.Kind) {
        order = ClientOrder(kind: kind, giver: serial)
        // In `exclusive` nothing goes behind it anyway.
        if mode == .open { mode = .barrier }
    }

    /// The server has accepted it, and its reply has been taken: the order waits for its turn.
    fileprivate func begin(_ order: ClientOrder) {
        guard channel.isOpen else { return }
        if case .closing = mode { return }
        self.order = order
        mode = .gathering
        worker.orders.accepted.append(id)
    }

    /// Its turn has come.
    func carryOutOrder() {
        if output.count > outputHighWater { flush() }
        guard channel.isOpen, mode == .gathering, var order else { return }
        // One list after the other would be kept for a client that does not read.
        if output.count > outputHighWater {
            isOrderParked = true
            return
        }
        order.most = mostListed
        self.order = order
        let others = pool.otherWorkers
        if others.isEmpty {
            finishOrder([])
        } else {
            worker.orders.out += 1
            worker.ask(.order(order, pool: pool.config.name), others, for: .order(id))
        }
    }

    /// The socket takes bytes again.
    func resumeOrder() {
        guard isOrderParked, output.count <= outputLowWater else { return }
        isOrderParked = false
        worker.orders.accepted.append(id)
    }

    /// The other workers have done their part.
    func finishOrder(_ answers: [WorkerAnswer]) {
        guard let order else { return }
        self.order = nil
        mode = inFlight > 0 ? .barrier : .open
        worker.ready(self)
        switch order.kind {
        case .list(let filter):
            var parts = [listHere(filter, order)]
            for case .listed(let part) in answers { parts.append(part) }
            answer(order, listReply(parts, most: order.most))
        case .kill(let filter):
            let here = pool.kill(filter, by: serial)
            var count = here.count
            for case .killed(let more) in answers { count += more }
            var reply: [UInt8] = []
            if !filter.isByAddress {
                Encode.integer(Int64(count), into: &reply)
            } else {
                reply = count == 0 ? order.nobody : Array("+OK\r\n".utf8)
            }
            answer(order, reply)
            if here.isSuicide { closeAfterFlush(.killed) }
        }
    }

    private func answer(_ order: ClientOrder, _ reply: [UInt8]) {
        if order.isSilent { return }
        reply.withUnsafeBytes { if let base = $0.baseAddress { receive(base, count: $0.count) } }
        worker.boundOutput()
    }

    /// A list is made in one piece, and is then in memory twice: what it may take of what is left
    /// for the replies to all clients.
    private var mostListed: Int {
        let left = worker.options.totalOutputLimit - worker.chunks.outputBytes
        return min(pool.config.clientOutputLimit, left / 2)
    }

    private func listReply(_ parts: [ListedClients], most: Int) -> [UInt8] {
        guard let list = ListedClients.merged(parts, most: most) else {
            return ClientLine.tooLong(pool)
        }
        var reply: [UInt8] = []
        Encode.verbatim(list, key.protocolVersion == 3 ? .resp3 : .resp2, into: &reply)
        return reply
    }

    private func listHere(_ filter: ListFilter, _ order: ClientOrder) -> ListedClients {
        let newest = lastCommand
        lastCommand = .clientList
        defer { lastCommand = newest }
        return pool.list(filter, order)
    }

    /// What a CLIENT LIST of a transaction shows, given what the server has said to it.
    func listInTransaction(_ filter: ListFilter, _ element: [UInt8]) -> [UInt8]? {
        guard let template = pool.lineTemplate(element) else { return nil }
        guard filter.isUnderstood else { return ClientLine.refusal }
        let order = ClientOrder(
            kind: .list(filter), giver: serial, template: template, most: mostListed)
        return listReply([listHere(filter, order)], most: order.most)
    }
}

extension UpstreamConnection {
    /// The server has judged a CLIENT LIST or CLIENT KILL.
    func judged(_ entry: InFlight, _ reply: [UInt8], isGood: Bool) {
        guard let client = worker.clients[entry.client], client.upstream === self else {
            deliver(entry, reply)
            return
        }
        let isList = entry.expectation == .rewriteList
        guard isBelieved, var order = client.order else {
            client.order = nil
            deliver(entry, isList && isGood ? ClientLine.refusal : reply)
            return
        }
        client.order = nil
        switch order.kind {
        case .list:
            guard isGood, !entry.isSilent, let template = pool.lineTemplate(reply) else {
                deliver(entry, reply)
                return
            }
            order.template = template
        case .kill(let filter):
            var cursor = ReplyCursor(from: 0)
            // The server has nothing against it, and has found nobody, as nobody was meant.
            let nobody: StaticString = filter.isByAddress ? "ERR No such client" : "0"
            guard cursor.next(reply.span)?.matches(nobody, in: reply.span) == true else {
                deliver(entry, reply)
                return
            }
            order.nobody = reply
            order.isSilent = entry.isSilent
        }
        // It is answered for this upstream, which others have from here on.
        var quiet = entry
        quiet.isSilent = true
        reply.withUnsafeBytes { deliver(quiet, $0.baseAddress!, 0, 1) }
        client.begin(order)
    }
}

extension Worker {
    /// How long orders are carried out in one turn of the loop; the last one may take longer.
    private static let orderTurn: Int64 = 1_000_000
    /// So many orders are before other workers at a time, as the answers can be long.
    private static let mostOrdersOut = 1

    /// An order can be carried out in the next turn of the loop, whatever else happens in it.
    var hasOrderToCarryOut: Bool { !orders.accepted.isEmpty && orders.out < Worker.mostOrdersOut }

    /// Carries out orders, in the order in which the server has accepted them.
    func carryOutOrders() {
        let began = EventLoop.now()
        var done = 0
        while done < orders.accepted.count, orders.out < Worker.mostOrdersOut {
            clients[orders.accepted[done]]?.carryOutOrder()
            done += 1
            if EventLoop.now() - began >= Worker.orderTurn { break }
        }
        orders.accepted.removeFirst(done)
    }
}
