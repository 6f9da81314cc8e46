// CLIENT LIST and CLIENT KILL. The server judges the command first. If it accepts it, the command
// becomes an order, which waits for its turn and is then carried out by all workers of the pool.
// The client's next command waits for the answer.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Remembers the command that was just sent until the server's reply.
    func sent(_ kind: ClientOrder.Kind) {
        order = ClientOrder(kind: kind, giver: serial)
        // In `exclusive` no later command is sent anyway.
        if mode == .open { mode = .barrier }
    }

    /// The server has accepted the command, and its reply is complete: the order waits for its
    /// turn.
    fileprivate func begin(_ order: ClientOrder) {
        guard channel.isOpen else { return }
        if case .closing = mode { return }
        self.order = order
        mode = .gathering
        worker.orders.accepted.append(id)
    }

    /// Carries out the order; it is at the head of the worker's list.
    func carryOutOrder() {
        if output.count > outputHighWater { flush() }
        guard channel.isOpen, mode == .gathering, var order else { return }
        // A client that does not read would otherwise collect one list after the other.
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

    /// The client has read output: a parked order is queued again.
    func resumeOrder() {
        guard isOrderParked, output.count <= outputLowWater else { return }
        isOrderParked = false
        worker.orders.accepted.append(id)
    }

    /// The other workers have answered.
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

    /// The most bytes of a list. It is built in one piece and is in memory twice, so it gets half
    /// of what is left for the replies to all clients.
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

    /// The value of CLIENT LIST for an element of EXEC's array; `element` is the server's list.
    func listInTransaction(_ filter: ListFilter, _ element: [UInt8]) -> [UInt8]? {
        guard let template = pool.lineTemplate(element) else { return nil }
        guard filter.isUnderstood else { return ClientLine.refusal }
        let order = ClientOrder(
            kind: .list(filter), giver: serial, template: template, most: mostListed)
        return listReply([listHere(filter, order)], most: order.most)
    }
}

extension UpstreamConnection {
    /// The server has answered a CLIENT LIST or CLIENT KILL.
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
            // The server accepts the form. It got one that matches no client, so it killed none.
            let nobody: StaticString = filter.isByAddress ? "ERR No such client" : "0"
            guard cursor.next(reply.span)?.matches(nobody, in: reply.span) == true else {
                deliver(entry, reply)
                return
            }
            order.nobody = reply
            order.isSilent = entry.isSilent
        }
        // For this upstream the command is answered. Other clients may use it from here on.
        var quiet = entry
        quiet.mark = .silent
        reply.withUnsafeBytes { deliver(quiet, $0.baseAddress!, 0, 1) }
        client.begin(order)
    }
}

extension Worker {
    /// How long one turn of the loop carries out orders, in nanoseconds. The last one may take
    /// longer.
    private static let orderTurn: Int64 = 1_000_000
    /// How many orders other workers are asked to carry out at a time. Their answers can be long.
    private static let mostOrdersOut = 1

    /// The next turn of the loop has an order to carry out, even if nothing else happens.
    var hasOrderToCarryOut: Bool { !orders.accepted.isEmpty && orders.out < Worker.mostOrdersOut }

    /// Carries out orders in the sequence in which the server accepted them.
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
