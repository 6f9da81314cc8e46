// A command of a subscribed RESP2 client that its mode forbids. The server refuses it, in words and
// in an order of checks that differ from version to version. So the command goes to a connection
// that is subscribed for this moment; nothing but an error can come of it there.

import Config
import EventLoop
import Pool
import RESP
import Session

/// How far it is.
struct Gate {
    enum Step {
        /// The connection subscribes.
        case subscribing
        /// The command is sent, and what ends the subscription behind it.
        case asking
        /// The command is answered.
        case leaving
    }

    let client: ClientConnection
    /// Whose connection it is.
    let user: UInt32
    /// Who has subscribed to the name: the client may have become another user since.
    let subscriber: UInt32
    /// What ends the subscription.
    let end: SubscribeVerb
    let name: [UInt8]
    let command: [UInt8]
    let isSilent: Bool
    var step = Step.subscribing
}

extension ClientConnection {
    /// Asks the server to refuse a command.
    func enterGate(_ request: Request) -> Outcome {
        guard let (hub, kind, name) = pool.subscribers.anyName(of: self) else {
            // Its last subscription has ended meanwhile.
            endSubscribing()
            return carryOutRare(request)
        }
        if let outcome = refuseImpossibleName(request.input.span, request.frame) { return outcome }
        if pool.isRouted { turn(to: hub.server) }
        let user = subscribing?.isAskedAsSubscriber == true ? hub.user : key.user
        let wanted = PoolKey(
            user: user, protocolVersion: key.protocolVersion, database: key.database)
        guard let own = lease(.pin, wanted) else { return withoutLease }
        subscribing?.isAskedAsSubscriber = false
        upstream = own
        inFlight = 1
        mode = .exclusive
        counted.commands &+= 1
        pool.traffic.commandsPinned += 1
        own.enter(
            Gate(
                client: self, user: user, subscriber: hub.user, end: kind.end, name: name,
                command: Array(request.bytes), isSilent: session.takeSilence()))
        return .answered
    }

    /// The client's user may not subscribe to the name, which another one has: that one's
    /// connection is asked.
    fileprivate func enterAgain(_ gate: Gate, from own: UpstreamConnection) {
        guard channel.isOpen, upstream === own else { return }
        subscribing?.isAskedAsSubscriber = true
        putBack(gate.command, isSilent: gate.isSilent)
        pool.traffic.commandsPinned -= 1
        answered(1, from: own)
    }
}

extension SubscriptionKind {
    fileprivate var begin: SubscribeVerb {
        switch self {
        case .channel: .subscribe
        case .pattern: .psubscribe
        case .shard: .ssubscribe
        }
    }

    fileprivate var end: SubscribeVerb {
        switch self {
        case .channel: .unsubscribe
        case .pattern: .punsubscribe
        case .shard: .sunsubscribe
        }
    }
}

extension UpstreamConnection {
    fileprivate func enter(_ gate: Gate) {
        lend(to: gate)
        var bytes: [UInt8] = []
        Encode.command([Array("\(gate.end.kind.begin.word)".utf8), gate.name], into: &bytes)
        // What is sent here is never sent again, whatever becomes of it.
        forgetSent()
        expect(
            gate.client.id, .gated, bytes: 0, mark: .init(isSilent: gate.isSilent),
            command: gate.client.lastCommand)
        sendOwn(bytes)
    }

    func receiveGate(_ bytes: UnsafeRawPointer, _ count: Int) {
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        let span = buffer.span
        var position = 0
        while position < count, stage == .ready, case .gate(let gate)? = sole?.kind {
            let start = position
            switch scanner.scan(span, from: start) {
            case .complete(let end): position = end
            case .incomplete: position = count
            case .invalid(let error):
                poison(error.message)
                return
            }
            // The beginning of a frame says what it is. An answer is kept until it is whole.
            let part = UnsafeRawBufferPointer(start: bytes + start, count: position - start)
            if incoming.collected.count < ClientConnection.streamThreshold {
                incoming.collected.append(contentsOf: part)
            }
            if !scanner.isInside { take(takeCollected(), at: gate) }
        }
    }

    private func take(_ frame: [UInt8], at gate: Gate) {
        guard scanner.type == UInt8(ascii: "*") else { return takeAnswer(frame, gate) }
        var cursor = ReplyCursor(from: 0)
        _ = cursor.next(frame.span)
        guard let word = cursor.next(frame.span), word.type == UInt8(ascii: "$") else {
            poison("an array that nobody waits for on a subscribed connection")
            return
        }
        if word.matches(gate.end.kind.begin.word, in: frame.span), gate.step == .subscribing {
            var next = gate
            next.step = .asking
            lend(to: next)
            send(gate.command)
            var bytes: [UInt8] = []
            Encode.command([Array("\(gate.end.word)".utf8), gate.name], into: &bytes)
            sendOwn(bytes)
        } else if word.matches(gate.end.word, in: frame.span), gate.step == .leaving {
            finishHead()
            keepSent()
            gate.client.answered(1, from: self)
        }
        // Anything else is a message of the channel, which the client gets from its hub.
    }

    private func takeAnswer(_ frame: [UInt8], _ gate: Gate) {
        switch gate.step {
        case .asking where scanner.isError:
            pool.countErrorReply(ErrorWord(scanner.head))
            var next = gate
            next.step = .leaving
            lend(to: next)
            if gate.isSilent { return }
            frame.withUnsafeBytes { gate.client.receive($0.baseAddress!, count: $0.count) }
        case .subscribing where scanner.isError && gate.user != gate.subscriber:
            finishHead()
            keepSent()
            gate.client.enterAgain(gate, from: self)
        case .subscribing where scanner.isError:
            // The right to the channel is gone: the server closes those who are subscribed to it.
            lose(.notUnderstood)
        default: poison("a reply on a subscribed connection that is no error")
        }
    }
}
