// Commands that are not in the table, and questions to the server that come before a command.

import Config
import EventLoop
import Pool
import RESP
import Session

extension ClientConnection {
    /// Carries out a command that is not in the table, once the server has said what it is.
    func carryOutUnknown(_ request: Request) -> Outcome {
        let unknown = UnknownName(request.frame, in: request.input.span, table: worker.table)
        switch pool.kind(of: unknown) {
        case .denied: return refuseCommand()
        case .known(let kind): return carryOutUnknown(kind, unknown, request.bytes)
        case .unclear(let name):
            let outcome = forwardOneOff(.unclear, request.bytes)
            if outcome == .sent { askedName = name }
            return outcome
        case .impossible: return refuseSubcommand(request.input.span, request.frame)
        case .toAsk(let name):
            guard let kind = lesson else { return ask(name) }
            // Whether the server knows it cannot be told, and it must not carry it out.
            if unknown.isAboutOneHop {
                lesson = nil
                return refuseSubcommand(request.input.span, request.frame)
            }
            let outcome = carryOutUnknown(kind, unknown, request.bytes)
            if outcome != .blocked { lesson = nil }
            return outcome
        }
    }

    private func carryOutUnknown(
        _ kind: UnknownCommands.Kind, _ name: UnknownName, _ bytes: UnsafeRawBufferPointer
    ) -> Outcome {
        switch kind {
        case .stranger: forward(.shared, .unknown, 0, bytes)
        case .module:
            forwardAlone(.pin, .ofModule, 0, bytes, isBlocking: true, isFenced: true)
        case .renamed where name.isSubcommand: forwardSubcommand(name, bytes)
        case .renamed: beginPipe()
        case .unclear: forwardOneOff(.plain, bytes)
        }
    }

    /// A subcommand that the server has and the table has not. One of CLIENT may turn something on
    /// for this connection; what another does ends with its reply.
    func forwardSubcommand(_ name: UnknownName, _ bytes: UnsafeRawBufferPointer) -> Outcome {
        name.isOfClient ? holdOneOff(bytes) : forwardOneOff(.plain, bytes)
    }

    /// The same for a client that holds an upstream. Nil for what makes a pipe of it.
    func carryOutUnknownHeld(_ request: Request) -> Outcome? {
        let name = UnknownName(request.frame, in: request.input.span, table: worker.table)
        let isQueueing = upstream?.hold?.isInTransaction == true
        switch pool.kind(of: name) {
        case .denied: return refuseCommand()
        case .impossible: return refuseSubcommand(request.input.span, request.frame)
        case .known(.stranger): return sendHeld(.unknown, 0, request.bytes)
        case .unclear, .known(.unclear): return forwardOneOff(.plain, request.bytes)
        case .known(.renamed) where name.isSubcommand:
            return forwardSubcommand(name, request.bytes)
        case .known(.module) where !isQueueing: return sendDoubtful(.ofModule, 0, request.bytes)
        case .known(.module), .known(.renamed): return nil
        case .toAsk where name.isAboutOneHop && (isQueueing || lesson != nil):
            lesson = nil
            return refuseSubcommand(request.input.span, request.frame)
        case .toAsk where isQueueing: return nil
        case .toAsk(let word):
            // Where the answer could not be believed it is not asked for.
            guard lesson != nil || upstream?.isBelieved == false else { return ask(word) }
            let outcome = forwardOneOff(.plain, request.bytes)
            if outcome != .blocked { lesson = nil }
            return outcome
        }
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
        let before = session
        let outcome = question.withUnsafeBytes {
            forward(.shared, expectation, 0, $0)
        }
        guard outcome == .sent else { return outcome }
        upstream?.noteOwn(question)
        session = before
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
        if mode == .asking { mode = .open }
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
