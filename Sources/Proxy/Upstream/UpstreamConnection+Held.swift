// A connection that one client holds for a transaction, a watch or subscriptions: its messages, and
// its cleaning when the client has left.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// Sets the holder's name on the connection if the server may know another one. Inside a
    /// transaction a reply with the name could no longer be corrected. The server has accepted this
    /// name before.
    func rename(_ name: [UInt8]) {
        if identity.name == name { return }
        identity.name = name
        let bytes = renaming(name)
        expect(UpstreamConnection.nobody, .plain, bytes: bytes.count)
        sendOwn(bytes)
    }

    func renaming(_ name: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        Encode.command([Array("CLIENT".utf8), Array("SETNAME".utf8), name], into: &bytes)
        return bytes
    }

    /// True if the frame at `position` is no reply. In RESP2 a subscribed connection gets only
    /// confirmations, messages, errors and the array form of PONG. In RESP3 pushes have a type of
    /// their own. A line of MONITOR is a status that begins with a time. Only a script can make up
    /// a reply that looks like one; then only its own client is affected, because the connection is
    /// not used again.
    func isPushFrame(_ span: Span<UInt8>, at position: Int) -> Bool {
        if scanner.isInside { return sole?.messages.isInside == true }
        let first = span[position]
        if hold?.isMonitoring == true, first == UInt8(ascii: "+"), position + 1 < span.count {
            return (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(span[position + 1])
        }
        if key.protocolVersion == 3 { return first == UInt8(ascii: ">") }
        guard first == UInt8(ascii: "*") else { return false }
        if (hold?.subscriptions ?? 0) > 0 { return true }
        if inFlight.isEmpty { return false }
        let next = inFlight.first.expectation
        return next == .subscribe || next.isUnsubscribe
    }

    /// Whether lines of MONITOR may stand among the elements of the next reply.
    func expectsLines(in expectation: Expectation) -> Bool {
        hold?.isMonitoring == true && (expectation == .exec || expectation == .execWalked)
    }

    /// Passes on one frame of a subscription, or as much of it as has come. Returns the next
    /// position.
    func relayPush(_ bytes: UnsafeRawPointer, _ span: Span<UInt8>, from start: Int) -> Int {
        guard let sole else { return span.count }
        if !sole.messages.isInside {
            sole.messages.isInside = true
            sole.messages.fate = .undecided
        }
        let end: Int
        let isComplete: Bool
        switch scanner.scan(span, from: start) {
        case .complete(let next):
            end = next
            isComplete = true
        case .incomplete:
            end = span.count
            isComplete = false
        case .invalid(let error):
            poison(error.message)
            return span.count
        }
        incoming.edges.add(span, from: start, to: end)
        relayPush(bytes + start, count: end - start, isComplete: isComplete)
        if isComplete {
            sole.messages.isInside = false
            let kind = incoming.edges.kind
            incoming.edges.clear()
            judgePush(kind)
        }
        return end
    }

    /// True if a read ends with a byte that may begin a reply or a line of MONITOR.
    func isUndecided(_ span: Span<UInt8>, at position: Int) -> Bool {
        hold?.isMonitoring == true && position == span.count - 1 && !scanner.isInside
            && span[position] == UInt8(ascii: "+")
    }

    /// Passes on a part of a message. CLIENT REPLY hides no message and no confirmation, but the
    /// array form of PONG is a reply. The first bytes of a frame are kept until it is known which
    /// it is.
    private func relayPush(_ bytes: UnsafeRawPointer, count: Int, isComplete: Bool) {
        guard let client = holder else {
            incoming.collected = []
            return
        }
        if incoming.edges.isLine {
            relayLine(bytes, count: count, isComplete: isComplete, to: client)
            return
        }
        switch sole?.messages.fate {
        case .undecided: decidePush(client, bytes, count, isComplete: isComplete)
        case .relayed: client.receive(bytes, count: count)
        case .hidden, nil: return
        }
        client.checkPace(self)
    }

    private func decidePush(
        _ client: ClientConnection, _ bytes: UnsafeRawPointer, _ count: Int, isComplete: Bool
    ) {
        let mayBeHidden =
            key.protocolVersion == 2 && !inFlight.isEmpty && inFlight.first.isSilent
        guard mayBeHidden || client.session.redirection.current != 0 || !incoming.collected.isEmpty
        else {
            sole?.messages.fate = .relayed
            client.receive(bytes, count: count)
            return
        }
        incoming.collected.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
        guard isComplete || incoming.collected.count >= FrameEdges.longestDecided else { return }
        var begun = takeCollected()
        let isHidden = mayBeHidden && incoming.edges.kind == .other
        sole?.messages.fate = isHidden ? .hidden : .relayed
        if isHidden { return }
        if incoming.edges.kind == .brokenRedirection { begun = client.redirectedReply(begun) }
        begun.withUnsafeBytes { client.receive($0.baseAddress!, count: $0.count) }
    }

    private func judgePush(_ kind: FrameEdges.Kind) {
        switch kind {
        case .message, .line, .brokenRedirection:
            break
        case .confirmation(let what, let count):
            confirm(what, count)
        case .other:
            // In RESP2 this is the array form of PONG. In RESP3 it is another kind of push, which
            // is no reply.
            if key.protocolVersion == 2 { finishHeadReply() }
        }
    }

    private func confirm(_ what: SubscriptionKind, _ count: Int) {
        let isAwaited: Bool
        if inFlight.isEmpty {
            isAwaited = false
        } else {
            let next = inFlight.first.expectation
            isAwaited = next == .subscribe || next.isUnsubscribe
        }
        if isAwaited, inFlight.first.value == 0 {
            let all = hold?.confirmations(of: inFlight.first.expectation) ?? 1
            inFlight.first.value = UInt32(clamping: all)
        }
        // The end of a slot here can be told at any time, also when the client has left the channel
        // already: no other client may read that as a reply.
        if pool.isRouted, what == .shard { spoil(.dirty) }
        if !isAwaited, endsShard(what, count) { return }
        guard isAwaited else {
            // This is no reply: a script has made it up, or a cluster slot has moved.
            taint()
            return
        }
        sole?.state?.confirmed(what, count: count)
        inFlight.first.value -= 1
        if inFlight.first.value == 0 { finishHeadReply() }
    }

    private func finishHeadReply() {
        guard !inFlight.isEmpty else {
            poison("a reply that nobody waits for on a subscribed connection")
            return
        }
        let entry = inFlight.first
        countReplies(1, entry)
        finishHead()
        if let client = worker.clients[entry.client], client.upstream === self {
            client.answered(1, from: self)
        }
    }

    // MARK: After the client

    /// The holder has left. Its commands still run. Then the connection is cleaned, or closed if
    /// one command cannot clean it.
    func orphan() {
        sole?.beginCleaning()
        setDeadline(after: pool.config.connectTimeout)
        cleanOrphan()
    }

    /// Called when a reply has come whose client has left. Does nothing on a connection that is not
    /// being cleaned, such as a shared one.
    func cleanOrphan() {
        guard case .cleaning(let state) = sole?.kind, inFlight.isEmpty, stage == .ready else {
            return
        }
        if ending.spoiled != nil || !state.isCleanable {
            server.machine.retire(id, ending.spoiled ?? .dirty, now: worker.now)
            server.noteWork()
        } else if let bytes = cleaningCommand {
            expect(UpstreamConnection.nobody, .clean, bytes: bytes.count)
            sendOwn(bytes)
        } else {
            finishCleaning()
        }
    }

    /// The command that ends the next part of the remaining state; nil if there is none.
    var cleaningCommand: [UInt8]? {
        guard let cleaning = hold?.cleaning else { return nil }
        var bytes: [UInt8] = []
        Encode.command(cleaning.words.map { "\($0)" }, into: &bytes)
        return bytes
    }

    /// A cleaning command is answered. Only +OK proves that it worked.
    func cleaned() {
        if scanner.isError || !scanner.head.matches("OK") {
            server.machine.retire(id, .dirty, now: worker.now)
            server.noteWork()
            return
        }
        sole?.state?.cleaned()
        cleanOrphan()
    }

    private func finishCleaning() {
        clearDeadline()
        takeBack()
        server.returned(self)
    }
}

/// How a frame of a subscription that is coming in is handled.
enum PushFate {
    /// Too few bytes have come to tell.
    case undecided
    case relayed
    case hidden
}
