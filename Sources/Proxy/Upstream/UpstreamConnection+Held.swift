// A connection that one client holds: transactions, watches and subscriptions, and how it becomes
// fit for others again.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// Gives the connection its holder's name where the server may know another: a transaction can
    /// ask for it when nothing can be put right any more. The server has accepted this name before.
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

    /// True when the frame that begins at `position` (or goes on) is none that was asked for. In
    /// RESP2 a subscribed connection gets nothing but confirmations, messages, errors and the
    /// array form of PONG; in RESP3 pushes have a type of their own. A line of MONITOR is a status
    /// that begins with the time: no command's reply does, save for what a script makes up, and
    /// then only its client loses count, on a connection that nobody will have after it.
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

    /// Whether lines of MONITOR may stand among the elements of the reply that begins.
    func expectsLines(in expectation: Expectation) -> Bool {
        hold?.isMonitoring == true && (expectation == .exec || expectation == .execWalked)
    }

    /// Relays one frame of a subscription, or as much of it as has come.
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

    /// True at the last byte of a read when it cannot be told yet what it begins.
    func isUndecided(_ span: Span<UInt8>, at position: Int) -> Bool {
        hold?.isMonitoring == true && position == span.count - 1 && !scanner.isInside
            && span[position] == UInt8(ascii: "+")
    }

    /// CLIENT REPLY hides no message and no confirmation, but the array form of PONG is a reply:
    /// the beginning of what may be one is kept until it can be told.
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
        guard mayBeHidden || client.redirection != 0 || !incoming.collected.isEmpty else {
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
            // The array form of PONG, or a push of another kind, which answers nothing.
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
        guard isAwaited else {
            // Not an answer: a script has made it up, or a slot of a cluster has moved.
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
        finishHead()
        if let client = worker.clients[entry.client], client.upstream === self {
            client.answered(1)
        }
    }

    // MARK: After the client

    /// The holder has left. What it sent still runs; then the connection is cleaned, or closed when
    /// that cannot be done with one command.
    func orphan() {
        sole?.beginCleaning()
        setDeadline(after: pool.config.connectTimeout)
        cleanOrphan()
    }

    /// Called whenever a reply to nobody has come.
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

    /// What ends the next part of the state that is left; nil when there is none.
    var cleaningCommand: [UInt8]? {
        guard let cleaning = hold?.cleaning else { return nil }
        var bytes: [UInt8] = []
        Encode.command(cleaning.words.map { "\($0)" }, into: &bytes)
        return bytes
    }

    /// The answer to one of our cleaning commands has come: anything but +OK leaves doubts.
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

/// What becomes of a frame of a subscription that is coming in.
enum PushFate {
    /// Too little of it has come.
    case undecided
    case relayed
    case hidden
}
