// What comes on a hub: pushes, and replies to the few commands that go over it. Each frame is read
// whole.

import Config
import EventLoop
import Pool
import RESP
import Session

extension UpstreamConnection {
    func receiveHub(_ hub: PushHub, _ bytes: UnsafeRawPointer, _ count: Int) {
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        let span = buffer.span
        var position = 0
        while position < count, stage == .ready, hub.upstream === self {
            let start = position
            switch scanner.scan(span, from: start) {
            case .complete(let end):
                position = end
                finishFrame(hub, UnsafeRawBufferPointer(start: bytes + start, count: end - start))
            case .incomplete:
                keep(hub, UnsafeRawBufferPointer(start: bytes + start, count: count - start))
                return
            case .invalid(let error):
                poison(error.message)
                return
            }
        }
        // Nobody wants the hub any more: what is left came on a connection like any other.
        if position < count, stage == .ready { receiveReplies(bytes + position, count - position) }
    }

    /// A part of a frame has come. Replies and confirmations are not longer than what clients have
    /// sent. A message that is longer than what may wait for a listener is dropped as it comes, as
    /// soon as it is known whose it is.
    private func keep(_ hub: PushHub, _ part: UnsafeRawBufferPointer) {
        if hub.frame.isSkipped { return }
        hub.frame.bytes.append(contentsOf: part)
        guard hub.frame.bytes.count > pool.longestMessage else { return }
        let begun = hub.frame.bytes
        let message = begun.withUnsafeBytes { scanner.isPush ? HubPush($0)?.message($0) : nil }
        guard let message else {
            if begun.count > UpstreamConnection.longestHubFrame {
                poison("a frame that is longer than any on a hub")
            }
            return
        }
        hub.frame = PartialPush(isSkipped: true)
        pool.subscribers.overlong(hub, message.kind, message.name)
    }

    /// The longest frame on a hub but for messages: it has the names of one command.
    private static let longestHubFrame = 2 * ClientConnection.longestAsk

    private func finishFrame(_ hub: PushHub, _ end: UnsafeRawBufferPointer) {
        if hub.frame.isSkipped {
            hub.frame = PartialPush()
            return
        }
        if hub.frame.bytes.isEmpty { return takeFrame(hub, end) }
        var whole = hub.frame.bytes
        hub.frame = PartialPush()
        whole.append(contentsOf: end)
        whole.withUnsafeBytes { takeFrame(hub, $0) }
    }

    private func takeFrame(_ hub: PushHub, _ frame: UnsafeRawBufferPointer) {
        if scanner.isPush { return takePush(hub, frame) }
        guard !inFlight.isEmpty else {
            poison("a reply that nobody waits for on a hub")
            return
        }
        let entry = inFlight.first
        switch entry.expectation {
        case .ask:
            guard scanner.isError else {
                poison("a reply to a command of the SUBSCRIBE family that is no error")
                return
            }
            pool.countErrorReply(ErrorWord(scanner.head))
            let hasNothing = scanner.head.starts(with: "NOSUB ")
            finishHead()
            pool.subscribers.refused(hub, Array(frame), by: server, hasNothing: hasNothing)
            pool.subscribers.settle(hub)
        case .relayed:
            if scanner.isError { pool.countErrorReply(ErrorWord(scanner.head)) }
            countRareReply(entry)
            finishHead()
            pool.subscribers.relay(frame, to: entry)
        case .hubProbe: finishHead()
        default: poison("an unexpected reply on a hub")
        }
    }

    private func takePush(_ hub: PushHub, _ frame: UnsafeRawBufferPointer) {
        guard let push = HubPush(frame) else { return noteUnknownPush() }
        let name = push.name(frame)
        switch push.what {
        case .message(let kind): pool.subscribers.deliver(frame, hub, kind, name)
        case .confirmation(let verb):
            switch pool.subscribers.confirmed(hub, verb, name) {
            case .ends:
                guard !inFlight.isEmpty, inFlight.first.expectation == .ask else {
                    poison("a confirmation that nobody waits for on a hub")
                    return
                }
                finishHead()
            case .within: break
            case .unasked:
                // Only the end of a slot is told without a command.
                guard verb == .sunsubscribe, name != nil else {
                    poison("a confirmation that nobody has asked for on a hub")
                    return
                }
            }
            pool.subscribers.carryOut()
            pool.subscribers.settle(hub)
        }
    }

    /// Nobody here can have asked for it, and it is no reply.
    private func noteUnknownPush() {
        pool.traffic.pushesDropped += 1
        pool.warnLimit(
            "upstream.stray_push", reason: CloseReason.strayPush.word,
            "dropping a message from \(server.place) that nobody has asked for")
    }

    /// Sends a command of the SUBSCRIBE family.
    func sendAsk(_ verb: SubscribeVerb, _ names: [[UInt8]]) {
        var bytes: [UInt8] = []
        Encode.command([verb.word.withUTF8Buffer { Array($0) }] + names, into: &bytes)
        expect(UpstreamConnection.nobody, .ask, bytes: bytes.count)
        send(bytes)
    }

    /// Sends a command of a client that is answered here, in the order of the messages.
    func sendRelayed(
        _ client: ClientConnection, _ bytes: UnsafeRawBufferPointer, value: UInt32
    ) {
        expect(
            client.id, .relayed, bytes: bytes.count, value: value,
            mark: .init(isSilent: client.session.takeSilence()), command: client.lastCommand)
        send(bytes)
    }

    /// The hub does not need the connection any more. Without the hub it is as any other of its
    /// user, if nobody is subscribed on it and nothing more comes.
    func leaveHub(isClean: Bool) {
        guard isClean, inFlight.isEmpty, !scanner.isInside else {
            for id in takeHub()?.relayed ?? [] { worker.clients[id]?.relayLost() }
            server.machine.retire(id, .clientGone, now: worker.now)
            server.noteWork()
            return
        }
        takeBack()
        server.returned(self)
    }

    /// The connection is about to end. Returns the hub that was on it, and whose commands were in
    /// flight.
    func takeHub() -> (hub: PushHub, relayed: [SlotID])? {
        guard let hub = sole?.hub else { return nil }
        var relayed: [SlotID] = []
        while !inFlight.isEmpty {
            if inFlight.first.expectation == .relayed { relayed.append(inFlight.first.client) }
            finishHead(inFlight.first.count)
        }
        abandon()
        return (hub, relayed)
    }

    /// Called with every tick while a hub is on this connection. As an idle connection, it is asked
    /// now and then whether it is still there.
    func probeHub(_ hub: PushHub) {
        let interval = server.machine.pingInterval
        guard interval > 0, inFlight.isEmpty, worker.now - hub.probedAt >= interval else { return }
        hub.probedAt = worker.now
        expect(UpstreamConnection.nobody, .hubProbe, bytes: UpstreamConnection.ping.count)
        sendOwn(UpstreamConnection.ping)
    }
}

/// What a push on a hub is: the first two elements of it, which may not be whole.
struct HubPush {
    enum What {
        case message(SubscriptionKind)
        case confirmation(SubscribeVerb)
    }

    let what: What
    /// Where the name is; nil for the null name.
    private let place: Range<Int>?

    /// Nil for any other push, and if too little of it has come.
    init?(_ frame: UnsafeRawBufferPointer) {
        let span = frame.bindMemory(to: UInt8.self).span
        var cursor = ReplyCursor(from: 0)
        guard let header = cursor.next(span), header.type == UInt8(ascii: ">"), header.value >= 3,
            let word = cursor.next(span), word.type == UInt8(ascii: "$"),
            let what = HubPush.what(word, span),
            let name = cursor.next(span), name.depth == 1
        else { return nil }
        self.what = what
        if name.isNull, case .confirmation = what {
            place = nil
        } else {
            guard name.type == UInt8(ascii: "$"), name.range.upperBound <= span.count else {
                return nil
            }
            place = name.range
        }
    }

    func name(_ frame: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        place.map { UnsafeRawBufferPointer(rebasing: frame[$0]) }
    }

    /// What kind of message it is, and for which name; nil for a confirmation.
    func message(_ frame: UnsafeRawBufferPointer) -> (kind: SubscriptionKind, name: [UInt8])? {
        guard case .message(let kind) = what, let name = name(frame) else { return nil }
        return (kind, Array(name))
    }

    private static let verbs: [SubscribeVerb] = [
        .subscribe, .psubscribe, .ssubscribe, .unsubscribe, .punsubscribe, .sunsubscribe,
    ]

    private static func what(_ word: ReplyItem, _ span: Span<UInt8>) -> What? {
        if word.matches("message", in: span) { return .message(.channel) }
        if word.matches("pmessage", in: span) { return .message(.pattern) }
        if word.matches("smessage", in: span) { return .message(.shard) }
        for verb in verbs where word.matches(verb.word, in: span) {
            return .confirmation(verb)
        }
        return nil
    }
}
