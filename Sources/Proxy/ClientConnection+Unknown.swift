// Commands that are not in the table, and questions to the server that come before a command.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Carries out a command that is not in the table, once the server has said what it is.
    func carryOutUnknown(
        _ span: Span<UInt8>, _ frame: CommandFrame, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        switch pool.kind(of: UnknownName(frame, in: span, table: worker.table)) {
        case .denied: return refuseCommand()
        case .known(let kind): return carryOutUnknown(kind, bytes, count)
        case .unclear(let name):
            let outcome = forwardOneOff(.unclear, bytes, count)
            if outcome == .done, inFlight > 0 { askedName = name }
            return outcome
        case .impossible: return refuseSubcommand(span, frame)
        case .toAsk(let name):
            guard let kind = lesson else { return ask(name) }
            let outcome = carryOutUnknown(kind, bytes, count)
            if outcome == .done { lesson = nil }
            return outcome
        }
    }

    private func carryOutUnknown(
        _ kind: UnknownCommands.Kind, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        switch kind {
        case .stranger: forward(.shared, .unknown, 0, bytes, count)
        case .module:
            forwardAlone(.pin, .ofModule, 0, bytes, count, isBlocking: true, isFenced: true)
        case .renamed: beginPipe()
        case .unclear: forwardOneOff(.plain, bytes, count)
        }
    }

    /// What is known of a command that is not in the table, of a client that holds an upstream.
    /// Nil for a command of the table.
    func knownKind(_ span: Span<UInt8>, _ frame: CommandFrame) -> UnknownKind? {
        guard worker.table.find(span, frame) == .unknown else { return nil }
        return pool.kind(of: UnknownName(frame, in: span, table: worker.table))
    }

    /// The name of a command that nothing is known of; nil for any other.
    func nameToAskFor(_ span: Span<UInt8>, _ frame: CommandFrame) -> [UInt8]? {
        guard worker.table.find(span, frame) == .unknown,
            case .toAsk(let name) = pool.kind(
                of: UnknownName(frame, in: span, table: worker.table))
        else { return nil }
        return name
    }

    // MARK: Questions

    func ask(_ name: [UInt8]) -> Outcome {
        let outcome = ask(
            .commandInfo, [Array("COMMAND".utf8), Array("INFO".utf8), name])
        if mode == .asking { askedName = name }
        return outcome
    }

    /// Puts a question of ours to the server; the command at the head of the input waits for the
    /// answer. An error reply to it may stand for the answer, if no upstream was to be had.
    func ask(_ expectation: Expectation, _ words: [[UInt8]]) -> Outcome {
        var question: [UInt8] = []
        Encode.command(words, into: &question)
        let before = (inFlight, session)
        let outcome = question.withUnsafeBytes {
            forward(.shared, expectation, 0, $0.baseAddress!, $0.count)
        }
        // Blocked: it waits. Done without anything in flight: refused, and answered so.
        guard outcome == .done, inFlight > before.0 else { return outcome }
        session = before.1
        mode = .asking
        return .blocked
    }

    /// The server's answer to COMMAND INFO has come.
    func learnedCommand(_ reply: [UInt8], isLockedOut: Bool) {
        if isLockedOut, key.user == 0 {
            // What this client sends next goes the way of all who have to log in first.
            pool.noteDefault(needsLogin: true)
        }
        switch UnknownCommands.judge(reply) {
        case .unclear: lesson = .unclear
        case let kind: pool.unknownCommands.learn(askedName, kind)
        }
        askedName = []
        endQuestion()
    }

    /// The answer has come: the command at the head of the input is looked at again.
    func endQuestion() {
        if mode == .asking { mode = upstream?.hold == nil ? .open : .held }
        // The command itself has not been answered: how long it waits goes on counting.
        let limit = retryUntil
        answered(1)
        retryUntil = limit
        worker.ready(self)
    }
}

/// What a pool knows of a name outside the table.
enum UnknownKind {
    /// `denyCommands` names it.
    case denied
    /// A subcommand that no container can have.
    case impossible
    case known(UnknownCommands.Kind)
    /// The server cannot be asked about this name.
    case unclear([UInt8])
    /// The server has to be asked about this name.
    case toAsk([UInt8])
}

extension UpstreamPool {
    func kind(of name: UnknownName) -> UnknownKind {
        if deniedStrangers.refuses(name.asRead) { return .denied }
        // Names are looked at before; COMMAND INFO would read this one as another.
        if !name.canBeAskedFor { return .impossible }
        // Before 7.0, COMMAND INFO knows no subcommands.
        if let kind = unknownCommands.kind(of: name.asRead) { return .known(kind) }
        return name.isSubcommand && facts.isBefore7 ? .unclear(name.asRead) : .toAsk(name.asRead)
    }
}
