// Commands that Redpool itself answers with an error: denied commands, impossible names, bytes that
// are not RESP, and refused leases.

import Config
import EventLoop
import Pool
import RESP
import Session
import Telemetry

extension ClientConnection {
    /// Answers with Redis's error after all earlier replies, then closes.
    func refuseProtocol(_ error: ProtocolError) {
        scanner = CommandScanner()
        if inFlight > 0 {
            mode = .barrier
            return
        }
        if !session.takeSilence() {
            var bytes: [UInt8] = []
            Encode.error(error, into: &bytes)
            replyBytes(bytes)
        }
        closeAfterFlush(.protocol_error)
    }

    /// Returns true if the head command's lease was refused. The command is answered with that
    /// error.
    func refuseIfDenied() -> Bool {
        guard let refusal else { return false }
        self.refusal = nil
        lesson = nil
        acceptedHello = nil
        retryUntil = nil
        forgetAskedRedirection()
        placeInLine = .none
        refuseOpenMulti()
        replyError(refusal)
        return true
    }

    // MARK: Refused commands

    /// Refuses a command in `denyCommands`. Inside a transaction the server gets a command that it
    /// refuses in its own way, so EXEC aborts as it does after any bad command.
    func refuseCommand() -> Outcome {
        let name = worker.table.info(lastCommand)?.name ?? "this command"
        let text =
            "ERR '\(name)' is refused by Redpool: it is in denyCommands of pool "
            + "\(pool.config.name)"
        let outcome = refuse(text)
        if outcome != .blocked { pool.warnRefused(Outage.denied, text) }
        return outcome
    }

    /// Answers with an error of Redpool's own, in order. In a transaction it works like
    /// `refuseCommand`.
    func refuse(_ text: String) -> Outcome {
        if let outcome = standInIfQueueing() { return outcome }
        replyError(text)
        return .answered
    }

    /// Called before Redpool answers a command itself. Waits until nothing is in flight. In an open
    /// transaction it sends a stand-in for the command. Returns nil if the client can be answered.
    func standInIfQueueing() -> Outcome? {
        if inFlight > 0 { return waitForReplies() }
        guard isHolding, session.isSendingTransaction else { return nil }
        // The server has refused the MULTI, so there is no transaction.
        guard upstream?.hold?.isInTransaction == true else {
            session.released()
            return nil
        }
        return sendStandIn()
    }

    func sendStandIn() -> Outcome {
        // Elsewhere the command itself would be sent.
        if openMulti != nil { openMulti?.isLost = true }
        let stand = ClientConnection.refusedCommand
        return stand.withUnsafeBytes { sendHeld(.plain, 0, $0) }
    }

    static let refusedCommand = Array("*1\r\n$23\r\nCOMMAND_DENIED_BY_PROXY\r\n".utf8)

    // MARK: Names

    /// Refuses a name that no command can have, in the server's words. Some servers read a name
    /// with a NUL as the part before it, so it must not be sent. Returns nil for any other name.
    func refuseImpossibleName(_ span: Span<UInt8>, _ frame: CommandFrame) -> Outcome? {
        guard
            UnknownName.isImpossible(span, start: frame.nameStart, count: frame.nameLength)
        else { return nil }
        if let outcome = standInIfQueueing() { return outcome }
        // Each argument adds at least three bytes to the error, so this many fill it.
        var words: [[UInt8]] = []
        var arguments = CommandArguments(span, frame: frame)
        while words.count <= UnknownName.room / 3 + 1, let found = arguments.next(span) {
            // Redis 6.2 writes the whole name.
            let length = words.isEmpty ? found.length : min(found.length, UnknownName.room + 1)
            words.append((0..<length).map { span[found.start + $0] })
        }
        refuseName(words)
        return .answered
    }

    /// Refuses a subcommand that no command can have.
    func refuseSubcommand(_ span: Span<UInt8>, _ frame: CommandFrame) -> Outcome {
        if let outcome = standInIfQueueing() { return outcome }
        let first = CommandTable.argument(1, span, frame) ?? []
        let name = CommandTable.argument(0, span, frame) ?? []
        refuseName([name, first], isSubcommand: true)
        return .answered
    }

    /// Answers with the server's error for an unknown command. `words` has as much as the error
    /// shows.
    func refuseName(_ words: [[UInt8]], isSubcommand: Bool = false) {
        if session.takeSilence() { return }
        let isOld = server.facts.hasOldWords
        let line =
            isSubcommand
            ? UnknownName.subcommandRefusal(of: words, isOld: isOld)
            : UnknownName.refusal(of: words, isOld: isOld)
        replyBytes(line + [13, 10])
    }
}
