import Pool
import RESP
import TestSupport
import Topology

// What the proxy does: it sends commands, and carries out what the cores say.

extension RedirectWorld {
    var time: MonotonicTime { MonotonicTime(nanoseconds: now) }

    /// Some commands of a client in one go.
    func sendPipeline(_ number: Int) {
        let client = clients[number]
        for _ in 0..<(1 + random.below(4)) {
            if broken != .versions {
                guard client.order.heldCount == 0,
                    client.version.maySend(under: version, inFlight: client.order.count)
                else { return }
            }
            let slot = random.below(Self.slots)
            let key = random.below(Self.keys)
            var keys = [key]
            if random.chance(30) { keys.append((key + 1) % Self.keys) }
            var command = Command(client: number, number: client.sent, slot: slot, keys: keys)
            command.isScript = random.chance(10)
            client.sent += 1
            command.place = client.order.open(slot: UInt16(slot), on: UInt32(map[slot]))
            client.open[command.place] = command
            client.expected.append(nil)
            queues[number][map[slot]].append(command)
        }
    }

    /// A node's answer reaches the proxy.
    func deliver() {
        let number = random.below(Self.clients)
        let node = random.below(Self.nodes)
        guard !answers[number][node].isEmpty else { return }
        let (command, reply) = answers[number][node].removeFirst()
        let client = clients[number]
        var isConfirmed = false
        if command.isQuestion {
            guard let first = client.doubted.removeValue(forKey: command.place) else {
                return fail("an answer that nobody has asked for")
            }
            guard first == reply else { return finish(command, first, of: client) }
            isConfirmed = true
        }
        if let refusal = NodeRefusal(reply, from: .test(1, node)) {
            take(refusal, reply, of: command, isConfirmed, at: node)
        } else {
            finish(command, reply, of: client)
        }
    }

    private func take(
        _ refusal: NodeRefusal, _ reply: [UInt8], of command: Command, _ isConfirmed: Bool,
        at node: Int
    ) {
        let client = clients[command.client]
        var refused = RefusedCommand(place: command.place)
        refused.mayMakeUpErrors = command.isScript
        refused.isConfirmed = isConfirmed
        var target: Int? = map[command.slot]
        switch refusal {
        case .moved(_, let address), .ask(_, let address):
            target = (0..<Self.nodes).first { .test(1, $0) == address }
            if case .ask = refusal { asks += 1 } else { redirects += 1 }
        default: break
        }
        let action = client.redirects.judge(
            refusal, of: refused, to: target.map { UInt32($0) }, in: client.order,
            version: version, now: time)
        if case .moved = refusal, !command.isScript || isConfirmed, let target,
            map[command.slot] != target
        {
            map[command.slot] = target
            version += 1
        }
        carryOut(action, reply, command, at: node)
    }

    private func carryOut(
        _ action: RedirectAction, _ reply: [UInt8], _ command: Command, at node: Int
    ) {
        let client = clients[command.client]
        let name = Array("command \(command.number)".utf8)
        switch action {
        case .relay:
            if broken == .later, client.order.hasLater(than: command.place) {
                return send(command, to: UInt32(node), asking: command.asking)
            }
            finish(command, reply, of: client)
        case .send(let node, let asking): send(command, to: node, asking: asking)
        case .hold:
            if broken == .earlier, let entry = NodeRefusal(reply, from: .test(1, node)),
                case .moved(_, let address) = entry,
                let other = (0..<Self.nodes).first(where: { .test(1, $0) == address })
            {
                return send(command, to: UInt32(other), asking: false)
            }
            pauses += 1
            if !client.order.hold(command.place, command: name.span) { fail("cannot hold") }
            client.open[command.place]?.asking = false
        case .confirm(let asking):
            client.doubted[command.place] = reply
            var question = command
            question.isQuestion = true
            question.asking = asking
            queues[command.client][node].append(question)
        case .answer(let end):
            refusals += 1
            var text: [UInt8] = []
            Encode.error(end.text(pool: "main"), into: &text)
            finish(command, text, of: client)
        }
        pump(command.client)
    }

    private func send(_ command: Command, to node: UInt32, asking: Bool) {
        guard clients[command.client].order.move(command.place, to: node) else {
            return fail("cannot move")
        }
        enqueue(command, to: node, asking: asking)
    }

    private func enqueue(_ command: Command, to node: UInt32, asking: Bool) {
        var command = command
        command.asking = asking
        command.isQuestion = false
        clients[command.client].open[command.place] = command
        queues[command.client][Int(node)].append(command)
    }

    /// Sends what is held and can go.
    func pump(_ number: Int) {
        let client = clients[number]
        var last: UInt32?
        while let held = client.redirects.next(
            after: last, in: client.order, version: version, now: time)
        {
            last = held.place
            guard let command = client.open[held.place] else { return fail("holds a stranger") }
            let node = held.node ?? UInt32(map[command.slot])
            var bytes: [UInt8] = []
            guard client.order.send(held.place, to: node, into: &bytes),
                bytes == Array("command \(command.number)".utf8)
            else { return fail("another command is held") }
            enqueue(command, to: node, asking: held.asking)
        }
    }

    /// The client gets the reply, in its place.
    private func finish(_ command: Command, _ reply: [UInt8], of client: Client) {
        client.open[command.place] = nil
        let ran = runs[[command.client, command.number]] ?? 0
        let isError = reply.first == UInt8(ascii: "-")
        if !command.isScript, ran != (isError ? 0 : 1) {
            let text = String(decoding: reply, as: UTF8.self)
            return fail("ran \(ran) times, and is answered \(text)")
        }
        client.expected[Int(command.place &- client.base)] = reply
        switch client.order.take(reply.span, of: command.place, isComplete: true) {
        case .pass: client.output += reply
        case .parked: break
        case .gathered, .mismatch: return fail("a reply has no place")
        }
        while client.order.isReady { client.order.drain(into: &client.output) }
        while let first = client.expected.first, let first, first.count <= client.output.count {
            guard client.output.prefix(first.count) == first[...] else {
                return fail("another reply of place \(client.base)")
            }
            client.output.removeFirst(first.count)
            client.expected.removeFirst()
            client.base &+= 1
        }
        if !client.output.isEmpty { return fail("too much output") }
        if client.order.first != client.base { return fail("a reply stays behind") }
        pump(command.client)
    }

    func advance(_ duration: Int64) {
        now += duration
        for number in 0..<Self.clients { pump(number) }
    }
}
