// Large commands: Redpool does not wait for their end, but streams them over an upstream of their
// own.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Handles a command that is still coming in.
    func handleUnfinished(_ span: Span<UInt8>, _ start: Int) {
        if refuseTLS(span, start) { return }
        let size = scanner.scanned + scanner.payloadRemaining
        // After the end of the stream it stays incomplete for ever.
        guard size > ClientConnection.streamThreshold, !inputEnded else { return }
        // Before a login the limits allow no command this large, and such a client may not pin.
        if isLockedOut, mode == .open, !isHolding { return }
        if refuseIfDenied() {
            mode = .swallowing
            return
        }
        if collectForHub(span, start) { return }
        if inFlight > 0 || mustAwaitResume || awaitsHub {
            mode = .barrier
            return
        }
        if refuseUnfinished(span, start) { return }
        if pool.readsReplicas { _ = mustAwaitReads(before: .unknown) }
        if pool.isRouted, !isHolding, !routeUnfinished(span, start) { return }
        if isHolding {
            if streamHeld(span, start) { return }
            if pool.isRouted { closeAfterFlush(.upstream_lost) } else { _ = becomePipe() }
            return
        }
        guard canStream(span, start) else {
            if beginPipe() == .answered { mode = .swallowing }
            return
        }
        let mayBlock = mayBlockUnfinished(span, start)
        guard let own = lease(.pin, key, mayBlock: mayBlock) else {
            if withoutLease == .answered { mode = .swallowing }
            return
        }
        if mayBlock { own.identify() }
        take(own, .plain, 0, bytes: 0, isBlocking: false)
        mode = .streaming(isBlocking: mayBlock)
        lastActivity = worker.now.nanoseconds
    }

    /// How long an upload may stop, in nanoseconds, before the client is closed.
    static let uploadTimeout: Int64 = 60_000_000_000

    /// A large command is coming in and passes to an upstream.
    var isUploading: Bool {
        switch mode {
        case .streaming: true
        case .piped(let pipe): pipe.view == .passing
        default: false
        }
    }

    /// No byte of it has come for `uploadTimeout`, although the client is read.
    var hasStalledUpload: Bool {
        isUploading && channel.isReading
            && worker.now.nanoseconds - lastActivity > ClientConnection.uploadTimeout
    }

    func closeStalledUpload() {
        pool.warnLimit(
            "client.upload_stalled", reason: ClientCloseReason.upload_stalled.word,
            "closing a client that has stopped in the middle of a large command: nothing has come "
                + "for \(ClientConnection.uploadTimeout / 1_000_000_000) s")
        close(.upload_stalled)
    }

    /// Answers a large command that the pool refuses. The rest of it is dropped as it comes.
    private func refuseUnfinished(_ span: Span<UInt8>, _ start: Int) -> Bool {
        switch unfinishedCommand(span, start) {
        case .notYet: return false
        case .known(let command, let isDenied):
            lastCommand = command
            guard isDenied else { return false }
            let outcome =
                pool.denyList.refuses(command)
                ? refuseCommand()
                : refuseLargeLogin(
                    CommandArguments.begun(span, from: start, to: start + scanner.scanned))
            if outcome != .blocked { mode = .swallowing }
        case .impossible(let isSubcommand):
            lastCommand = .unknown
            if session.isSendingTransaction, isHolding {
                _ = sendStandIn()
            } else {
                let end = start + scanner.scanned
                let words = CommandArguments.begun(span, from: start, to: end)
                refuseName(words, isSubcommand: isSubcommand)
            }
            mode = .swallowing
        }
        return true
    }

    /// What is known of the command while its arguments are still coming in.
    func unfinishedCommand(_ span: Span<UInt8>, _ start: Int) -> UnfinishedName {
        let begun = scanner.scanned + scanner.payloadRemaining
        guard let partial = scanner.partialFrame else {
            return begun > UnfinishedName.room ? .impossible(isSubcommand: false) : .notYet
        }
        let name = (start: start + partial.nameStart, length: partial.nameLength)
        if UnknownName.isImpossible(span, start: name.start, count: name.length) {
            return .impossible(isSubcommand: false)
        }
        let first = scanner.partialFirst.map { (start: start + $0.start, length: $0.length) }
        let container = worker.table.find(span, nameStart: name.start, nameLength: name.length)
        let isContainer = worker.table.info(container)?.hasSubcommands == true
        guard isContainer, partial.argumentCount > 1 else {
            return known(
                container, UnknownName(name: name, first: nil, in: span, table: worker.table))
        }
        guard let first else {
            let behind = begun - partial.nameStart - partial.nameLength
            return behind > UnfinishedName.room ? .impossible(isSubcommand: true) : .notYet
        }
        let command = worker.table.find(span, name: name, first: first)
        let text = UnknownName(name: name, first: first, in: span, table: worker.table)
        let isVague = Word.hasNUL(span, start: first.start, count: first.length)
        if command == .unknown
            ? !text.canBeAskedFor || pool.withholds(text) : isVague && carriesState(command)
        {
            return .impossible(isSubcommand: true)
        }
        return known(command, text)
    }

    private func carriesState(_ command: Command) -> Bool {
        worker.table.commandClass(command)?.carriesState ?? true
    }

    private func known(_ command: Command, _ name: UnknownName) -> UnfinishedName {
        let isDenied =
            command == .unknown
            ? pool.deniedStrangers.refuses(name.asRead)
            : pool.denyList.refuses(command) || mayNotPass(command, arguments: nil)
        return .known(command, isDenied: isDenied)
    }

    /// The command is a script or of another kind that may bring more than one reply.
    private var isFencedWhole: Bool {
        CommandTable.runsScript(lastCommand)
            || worker.table.commandClass(lastCommand) == .pinFence
    }

    /// True for commands with one reply and no effect on the session.
    private func canStream(_ span: Span<UInt8>, _ start: Int) -> Bool {
        guard case .known(let command, _) = unfinishedCommand(span, start),
            let info = worker.table.info(command), !info.hasSubcommands
        else { return false }
        switch info.commandClass {
        case .share, .shareSlow, .admin, .pinReply, .pinReplyIfBlock, .pinFence: return true
        default: return false
        }
    }

    /// Whether the command may block once it is complete.
    private func mayBlockUnfinished(_ span: Span<UInt8>, _ start: Int) -> Bool {
        guard let info = worker.table.info(lastCommand), info.isBlocking else { return false }
        guard info.commandClass == .pinReplyIfBlock else { return true }
        let begun = CommandArguments.begun(span, from: start, to: start + scanner.scanned)
        return CommandTable.mayHaveBlockArgument(begun)
    }

    /// Streams a command over the held upstream if it changes no state there. The next command
    /// waits for its reply.
    private func streamHeld(_ span: Span<UInt8>, _ start: Int) -> Bool {
        guard canStream(span, start), !isFencedWhole, let upstream, upstream.inFlight.isEmpty
        else { return false }
        switch worker.table.commandClass(lastCommand) {
        case .share, .shareSlow, .admin: break
        default: return false
        }
        session.streamed()
        // Its bytes are not kept, so the transaction stays here.
        if openMulti != nil { openMulti?.forget() }
        if worker.table.mayWrite(lastCommand) { noteWrite(upstream) }
        pool.traffic.commandsPinned += 1
        counted.commands &+= 1
        inFlight = 1
        upstream.forgetSent()
        upstream.expect(
            id, .plain, bytes: 0, mark: .init(isSilent: session.takeSilence()), command: lastCommand
        )
        mode = .streaming(isBlocking: false)
        return true
    }

    /// Passes on, or drops, the next part of a large command. Returns the new position.
    func streamOn(_ bytes: UnsafeMutableRawPointer, _ count: Int, _ start: Int) -> Int {
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        let end: Int
        let isWhole: Bool
        switch scanner.scan(buffer.span, frameStart: start, limits: worker.limits.loggedIn) {
        case .command(let frame):
            end = frame.end
            isWhole = true
        case .incomplete:
            end = start + scanner.scanned
            scanner.takeScanned()
            isWhole = false
        case .inline, .skip:
            preconditionFailure("a command cannot turn into something else half-way")
        case .invalid(let error):
            var reply: [UInt8] = []
            Encode.error(error, into: &reply)
            replyBytes(reply)
            closeAfterFlush(.protocol_error)
            return count
        }
        if case .streaming(let isBlocking) = mode, let upstream {
            upstream.stream(bytes + start, count: end - start)
            if isWhole {
                mode = isHolding ? .barrier : .exclusive
                if isBlocking { upstream.setBlocking(true) }
                if isFencedWhole { putFence(behind: upstream) }
            }
            if upstream.isFull(for: self) { pause(.upstreamFull) }
        } else if isWhole {
            mode = .open
        }
        return end
    }
}

/// What is known of a command while its arguments are still coming in.
enum UnfinishedName {
    /// The name is incomplete, or the first argument of a command with subcommands is.
    case notYet
    case known(Command, isDenied: Bool)
    /// No command has this name, or no command with subcommands has this one.
    case impossible(isSubcommand: Bool)

    /// The length of the longest valid name, with the headers before it.
    static let room = UnknownName.longest + 64
}
