// The way in: scans commands in received bytes, plans them, leases an upstream and sends them.

import Config
import EventLoop
import Pool
import RESP
import Session

/// What became of one command.
enum Outcome {
    /// It is sent to the server.
    case sent
    /// It has been answered here, or its client is closing. Nothing of it is in flight.
    case answered
    /// It waits at the head of the input.
    case blocked
}

extension ClientConnection {
    /// The limits that the server applies to this client. Before a login they are low, and a server
    /// that finds one exceeded would close a connection that other clients share.
    var limits: CommandLimits {
        isLimited ? worker.limits.beforeLogin : worker.limits.loggedIn
    }

    /// The client is not logged in, and has no upstream from a time when that was not needed.
    private var isLimited: Bool { isLockedOut && !isHolding }

    /// Handles as many commands as fit in one turn. Returns the number of bytes that are done.
    func handle(_ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
        var position = 0
        worker.turn = Turn()
        while position < count, channel.isOpen {
            if worker.turn.isOver(at: position) {
                worker.carryOver(self)
                return position
            }
            switch mode {
            case .open:
                guard !isPausedByUpstream, let next = handleNext(bytes, count, position) else {
                    return position
                }
                position = next
            case .loggedOut:
                guard let next = handleLoggedOut(bytes, count, position) else { return position }
                position = next
            case .streaming, .swallowing:
                guard !isPausedByUpstream else { return position }
                let next = streamOn(bytes, count, position)
                if next == position { return position }
                position = next
            case .piped:
                guard !isPausedByUpstream, !isPipeHalted else { return position }
                if let head = pipeHead {
                    pipeHead = nil
                    position = pass(head, insteadOf: bytes, count, position)
                    continue
                }
                let next = passCommand(bytes, count, position)
                if next == position { return position }
                position = next
            case .closing:
                return count
            case .waiting, .barrier, .asking, .gathering, .exclusive, .preparing:
                return position
            }
        }
        return position
    }

    /// Handles the command at `start`. Returns the start of the next one, or nil if it has to wait.
    private func handleNext(_ bytes: UnsafeMutableRawPointer, _ count: Int, _ start: Int) -> Int? {
        let buffer = UnsafeMutableBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        switch scanNext(buffer.span, start) {
        case .command(let frame):
            if !frame.isCanonical {
                var span = buffer.mutableSpan
                canonicalize(&span, frame: frame)
            }
            return handleFrame(buffer, frame)
        case .inline(let lineStart, let lineEnd, let next):
            worker.turn.spend(Turn.line)
            return handleInline(buffer, lineStart, lineEnd) != .blocked ? next : nil
        case .skip(let next):
            worker.turn.spend(Turn.blank)
            return next
        case .incomplete:
            handleUnfinished(buffer.span, start)
            return isStreaming || mode == .swallowing ? start : nil
        case .invalid(let error):
            refuseProtocol(error)
            return nil
        }
    }

    /// The scanner is stored only while a command is incomplete; a complete one needs no stored
    /// scanner. Before a login each scan begins anew: the command may have begun when the server
    /// wanted no login yet, and must now keep to the lower limits. Within these it is short.
    @inline(__always)
    private func scanNext(_ bytes: Span<UInt8>, _ start: Int) -> CommandScan {
        if unfinished != nil {
            if !isLimited {
                return scanner.scan(bytes, frameStart: start, limits: worker.limits.loggedIn)
            }
            unfinished = nil
        }
        var fresh = CommandScanner()
        let found = fresh.scan(bytes, frameStart: start, limits: limits)
        if case .incomplete = found { scanner = fresh }
        return found
    }

    private func handleFrame(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, _ frame: CommandFrame
    ) -> Int? {
        let command = worker.table.find(buffer.span, frame)
        if pool.isSpread {
            if pool.isRouted { return handleRouted(buffer, frame, command) }
            let request = Request(
                command: command, frame: frame, input: UnsafeBufferPointer(buffer))
            if let outcome = readBesidePrimary(request) {
                return outcome != .blocked ? frame.end : nil
            }
        }
        // Only a client with extras, which few have, can have been refused a lease.
        if extras != nil, refuseIfDenied() { return frame.end }
        if isSubscribing { return handleSubscribing(buffer, frame, command) }
        if case .multi = command, case .open = mode, !isHolding, !pool.isPaused,
            let block = findBlock(buffer, after: frame)
        {
            return forwardBlock(buffer, frame, block) != .blocked ? block.end : nil
        }
        lastCommand = command
        guard isPlain(command), !pool.denyList.stops(command) else {
            let request = Request(
                command: command, frame: frame, input: UnsafeBufferPointer(buffer))
            return carryOutRare(request) != .blocked ? frame.end : nil
        }
        let request = Request(command: command, frame: frame, input: UnsafeBufferPointer(buffer))
        let expectation = provesWrite(command, frame) ? Expectation.write : .plain
        let outcome = forwardNow(.shared, key: nil, expectation, 0, request.bytes, kept: nil)
        guard outcome == .sent else { return outcome == .answered ? frame.end : nil }
        return frame.end < buffer.count ? forwardRun(buffer, from: frame.end) : frame.end
    }

    /// The command has no state, and its client has none either.
    @inline(__always)
    private func isPlain(_ command: Command) -> Bool {
        worker.table.isStateless(command) && !isHolding && !pool.isPaused && !isLockedOut
    }

    /// Sends an inline command as an array, which has only one reading.
    private func handleInline(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, _ start: Int, _ end: Int
    ) -> Outcome {
        if refuseTLS(buffer.span, start) { return .blocked }
        let line = UnsafeBufferPointer(rebasing: buffer[start..<end])
        guard let words = InlineParser.split(line.span) else {
            refuseProtocol(.unbalancedQuotes)
            return .blocked
        }
        if words.isEmpty { return .answered }
        var encoded: [UInt8] = []
        Encode.command(words, into: &encoded)
        return encoded.withUnsafeMutableBufferPointer { array in
            var once = CommandScanner()
            guard
                case .command(let frame) = once.scan(
                    array.span, frameStart: 0, limits: worker.limits.loggedIn)
            else { return .answered }
            let command = worker.table.find(array.span, frame)
            let input = UnsafeBufferPointer(array)
            let request = Request(command: command, frame: frame, input: input)
            if let outcome = forwardLongLine(line, words, request) { return outcome }
            return carryOut(request)
        }
    }

    // MARK: Planning

    /// An inline command, as an array.
    private func carryOut(_ request: Request) -> Outcome {
        if pool.isRouted {
            if pool.readsReplicas, mustAwaitReads(before: request.command) {
                return waitForReplies()
            }
            if let outcome = answerRefusal() { return outcome }
            lastCommand = request.command
            return isSubscribing ? carryOutSubscribing(request) : carryOutRouted(request)
        }
        if pool.readsReplicas, let outcome = readBesidePrimary(request) { return outcome }
        if refuseIfDenied() { return .answered }
        lastCommand = request.command
        if isSubscribing { return carryOutSubscribing(request) }
        return carryOutRare(request)
    }

    /// The slow path: the command has a state, or its client has one. `isJudged`: Redpool has
    /// judged this login already, and has taken its credentials out.
    func carryOutRare(_ request: Request, isJudged: Bool = false) -> Outcome {
        let command = request.command
        let isStateless = worker.table.isStateless(command)
        if !isStateless { worker.turn.spend(Turn.special) }
        if case .unknown = command,
            let outcome = refuseImpossibleName(request.input.span, request.frame)
        {
            return outcome
        }
        if pool.denyList.refuses(command) { return refuseCommand() }
        if command == .auth || command == .hello, !isJudged, let outcome = judge(request) {
            return outcome
        }
        if isHolding {
            if isStateless { worker.turn.spend(Turn.held) }
            if mustAwaitResume, command != .quit { return waitForReplies() }
            let before = session.transaction
            let plan = session.planHeld(
                command, worker.table.info(command), request.input.span, request.frame)
            let outcome = carryOutHeld(plan, request)
            // A command that waits is planned again when its turn comes.
            if outcome == .blocked { session.withdraw(to: before) }
            return outcome
        }
        if isLockedOut, let outcome = carryOutBeforeLogin(request) {
            return outcome
        }
        let plan = worker.table.plan(command, request.input.span, request.frame)
        if pool.isPaused, let outcome = forwardPaused(plan, request) { return outcome }
        return carryOutFree(plan, request)
    }

    /// Carries out a command of a client that holds no upstream.
    private func carryOutFree(_ plan: Plan, _ request: Request) -> Outcome {
        let bytes = request.bytes
        switch plan {
        case .send(.rewriteList, _): return forwardList(request)
        case .send(.plain, _) where provesWrite(request.command, request.frame):
            return forward(.shared, .write, 0, bytes)
        case .send(.trackingOff, let options):
            return endTracking(request.input.span, request.frame, options)
        case .send(.plain, _) where pool.denyList.corrects(request.command):
            return forwardCounted(request)
        case .send(.plain, _) where maySetPassword(request.command):
            return setPassword(request)
        case .send(let expectation, let value):
            return forward(.shared, expectation, value, bytes)
        case .sendSlow: return forward(.slow, .plain, 0, bytes)
        case .runScript: return runScript(bytes)
        case .fenced: return forwardFenced(request)
        case .impossible: return refuseSubcommand(request.input.span, request.frame)
        case .oneOff(.rewriteList): return forwardList(request)
        case .oneOff(let expectation): return forwardOneOff(expectation, bytes)
        case .mirror: return forwardChange(request)
        case .exclusive(let isBlocking):
            return forwardAlone(.pin, .plain, 0, bytes, isBlocking: isBlocking)
        case .sendBlocking:
            return forwardAlone(.pin, .plain, 0, bytes, isBlocking: true)
        case .controlClients: return control(request)
        case .waitForReplicas: return waitForReplicas(bytes)
        case .control:
            let wanted = CommandTable.expectation(
                ofControl: request.command, request.input.span, request.frame)
            return forwardAlone(
                .control, key: controlKey, wanted.0, wanted.1, bytes, isBlocking: false)
        case .hold(.trackingOn, let options):
            return track(request, TrackingOptions(rawValue: options))
        case .hold(.monitor, _): return monitor(request)
        case .hold(.subscribe, _) where mayShare(request):
            return SubscribeVerb(request.command).map { ask($0, request) } ?? .answered
        case .hold(let expectation, let value): return beginHold(request, expectation, value)
        case .ask: return carryOutUnknown(request)
        case let other: return carryOutState(other, request)
        }
    }

    func waitForReplies() -> Outcome {
        mode = .barrier
        return .blocked
    }

    // MARK: Shared

    func forward(
        _ kind: LeaseKind, key wanted: PoolKey? = nil, _ expectation: Expectation,
        _ value: UInt32, _ bytes: UnsafeRawBufferPointer, kept: Int? = nil
    ) -> Outcome {
        if isHolding { return sendHeld(expectation, value, bytes) }
        return forwardNow(kind, key: wanted, expectation, value, bytes, kept: kept)
    }

    /// `forward` for a client that holds no upstream. It is inlined because nearly all commands
    /// take this path.
    ///
    /// - Parameter isKeyed: it has one key, and is for a node of a cluster.
    @inline(__always)
    func forwardNow(
        _ kind: LeaseKind, key wanted: PoolKey?, _ expectation: Expectation,
        _ value: UInt32, _ bytes: UnsafeRawBufferPointer, kept: Int?, isKeyed: Bool = false
    ) -> Outcome {
        if inFlight > 0, let current = upstream {
            if current.gauge.measures, current.server.machine.isFull(current.id) {
                return waitForReplies()
            }
            // Commands of one client stay in order only on one upstream. For a script, and while
            // the server pauses writes, that upstream moves to the slow lane, because such a
            // command may never end. Moving it for every slow command would cost more connections
            // than the waits behind such commands are worth.
            if case .slow = kind, CommandTable.runsScript(lastCommand) || pool.isPaused {
                current.server.machine.add(current.id, .slow)
            } else {
                current.server.machine.add(current.id, .shared)
            }
            send(over: current, expectation, value, bytes, kept: kept, isKeyed: isKeyed)
        } else {
            guard let own = lease(kind, wanted ?? key) else { return withoutLease }
            own.share()
            send(over: own, expectation, value, bytes, kept: kept, isKeyed: isKeyed)
            // Last, so that the reference of the lease becomes the client's.
            upstream = own
        }
        return .sent
    }

    /// Sends a command over a shared upstream that is the client's, or is about to be.
    @inline(__always)
    private func send(
        over target: UpstreamConnection, _ expectation: Expectation, _ value: UInt32,
        _ bytes: UnsafeRawBufferPointer, kept: Int?, isKeyed: Bool
    ) {
        inFlight += 1
        if worker.table.mayWrite(lastCommand) || expectation.isBlock { noteWrite(target) }
        pool.traffic.commandsShared += 1
        counted.commands &+= 1
        target.expect(
            id, expectation, bytes: kept ?? bytes.count, value: value,
            mark: session.takeSilence() ? .silent : isKeyed ? .mayGrow : .none,
            command: lastCommand)
        target.send(bytes)
        if target.isFull(for: self) { pause(.upstreamFull) }
    }

    /// CLIENT SETNAME and CLIENT SETINFO.
    func forwardChange(_ request: Request) -> Outcome {
        guard let change = IdentityChange(CommandTable.words(request.input.span, request.frame))
        else {
            return forwardOneOff(.plain, request.bytes)
        }
        // Bounds what Redpool remembers for a server that reads commands but does not answer.
        let pending = session.pendingChanges
        if pending > 0, pending + change.size > ClientConnection.mostPending {
            return waitForReplies()
        }
        let outcome = forward(.shared, change.expectation, 0, request.bytes)
        if outcome == .sent {
            session.sent(change)
            countKept()
        }
        return outcome
    }

    /// The most bytes of identity changes in flight, if they are more than one.
    private static let mostPending = 4 << 10

    /// CLIENT LIST. One at a time, because it keeps the lines of other workers in memory.
    func forwardList(_ request: Request) -> Outcome {
        let filter = ListFilter(CommandTable.words(request.input.span, request.frame))
        guard filter.isUnderstood else { return forwardOneOff(.rewriteList, request.bytes) }
        let outcome = forward(.shared, .rewriteList, 0, request.bytes)
        if outcome == .sent { sent(.list(filter)) }
        return outcome
    }
}
