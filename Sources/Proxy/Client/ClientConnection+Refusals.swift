// Commands that are answered here with an error: denied ones, names that no command can have, bytes
// that are not RESP, and leases that are not to be had.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Redis's own words, then the end, after everything that came before is answered.
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

    /// True when the lease that the head command waited for was refused; the error is its answer.
    func refuseIfDenied() -> Bool {
        guard let refusal else { return false }
        self.refusal = nil
        lesson = nil
        retryUntil = nil
        forgetAskedRedirection()
        placeInLine = .none
        replyError(refusal)
        return true
    }

    // MARK: Refused commands

    /// A command of the pool's `denyCommands`. Inside a transaction the server is given a command
    /// that it refuses in its own way, so that EXEC aborts as after any other bad command.
    func refuseCommand() -> Outcome {
        let name = worker.table.info(lastCommand)?.name ?? "this command"
        return refuse(
            "ERR '\(name)' is refused by Redpool: it is in denyCommands of pool "
                + "\(pool.config.name)")
    }

    /// Answers a command with an error of our own, in its turn; in a transaction as above.
    func refuse(_ text: String) -> Outcome {
        if let outcome = standInIfQueueing() { return outcome }
        replyError(text)
        return .answered
    }

    /// Before an answer of our own: waits for what is in flight, and sends something else into an
    /// open transaction in place of a command that must not be sent. Nil when the client can be
    /// answered.
    func standInIfQueueing() -> Outcome? {
        if inFlight > 0 { return waitForReplies() }
        guard isHolding, session.isSendingTransaction else { return nil }
        // A MULTI that the server has refused has opened nothing.
        guard upstream?.hold?.isInTransaction == true else {
            session.released()
            return nil
        }
        return sendStandIn()
    }

    func sendStandIn() -> Outcome {
        let stand = ClientConnection.refusedCommand
        return stand.withUnsafeBytes { sendHeld(.plain, 0, $0) }
    }

    static let refusedCommand = Array("*1\r\n$23\r\nCOMMAND_DENIED_BY_PROXY\r\n".utf8)

    // MARK: Names

    /// A name that no command can have is answered here, in the server's words: some servers take
    /// one with a NUL for the name before it. Nil for any other.
    func refuseImpossibleName(_ span: Span<UInt8>, _ frame: CommandFrame) -> Outcome? {
        guard
            UnknownName.isImpossible(span, start: frame.nameStart, count: frame.nameLength)
        else { return nil }
        if let outcome = standInIfQueueing() { return outcome }
        // An argument costs three bytes of the text at least, so these are enough.
        var words: [[UInt8]] = []
        var arguments = CommandArguments(span, frame: frame)
        while words.count <= UnknownName.room / 3 + 1, let found = arguments.next(span) {
            // 6.2 writes the whole name.
            let length = words.isEmpty ? found.length : min(found.length, UnknownName.room + 1)
            words.append((0..<length).map { span[found.start + $0] })
        }
        refuseName(words)
        return .answered
    }

    /// The same for a subcommand.
    func refuseSubcommand(_ span: Span<UInt8>, _ frame: CommandFrame) -> Outcome {
        if let outcome = standInIfQueueing() { return outcome }
        let first = CommandTable.argument(1, span, frame) ?? []
        let name = CommandTable.argument(0, span, frame) ?? []
        refuseName([name, first], isSubcommand: true)
        return .answered
    }

    /// Answers a command whose words are known as far as the error shows them.
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
