// Commands that are not in the table, and the questions that Redpool puts to the server about them.

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
            // The server cannot be asked whether it has this subcommand, and it must not run it.
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

    /// A subcommand that the server has and the table has not. A CLIENT subcommand may switch on a
    /// state of the connection. The effects of any other end with its reply.
    func forwardSubcommand(_ name: UnknownName, _ bytes: UnsafeRawBufferPointer) -> Outcome {
        name.isOfClient ? holdOneOff(bytes) : forwardOneOff(.plain, bytes)
    }

    /// `carryOutUnknown` for a client that holds an upstream. Nil for a command that needs a pipe.
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
            // On an upstream whose replies are not trusted, an answer would be of no use.
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

    /// Sends a question of Redpool's own; the head command waits for the answer. If no lease can be
    /// had, the outcome is `answered`: the error answers the head command.
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

    /// The server has answered COMMAND INFO.
    func learnedCommand(_ reply: [UInt8], isLockedOut: Bool) {
        if isLockedOut, key.user == 0 {
            // Later commands of this client are handled like those of all clients without a login.
            pool.noteDefault(needsLogin: true)
        }
        switch UnknownCommands.judge(reply) {
        case .unclear: lesson = .unclear
        case let kind: pool.unknownCommands.learn(askedName, kind)
        }
        askedName = []
        endQuestion()
    }

    /// Takes up the head command again after the answer.
    func endQuestion() {
        if mode == .asking { mode = .open }
        // The head command itself is not answered, so its own deadline stays.
        let limit = retryUntil
        if let upstream { answered(1, from: upstream) }
        retryUntil = limit
        worker.ready(self)
    }
}

/// What the pool knows of a name that is not in the table.
enum UnknownKind {
    /// `denyCommands` has it.
    case denied
    /// A subcommand that no command can have.
    case impossible
    case known(UnknownCommands.Kind)
    /// The server cannot be asked about it.
    case unclear([UInt8])
    /// The server has to be asked about it.
    case toAsk([UInt8])
}
