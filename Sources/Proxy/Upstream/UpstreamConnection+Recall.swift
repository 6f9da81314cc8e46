// A connection with TLS cannot be handed over in an upgrade, so a command that blocks there is
// recalled: the server unblocks it (Server+Unblock.swift). If it answers with an element, the
// client gets it. If it answers with nil because of that, the client does not: the command is at
// the head of its input for the other program, with what is left of its timeout. If no other
// program takes over, it is sent again here.
//
//     asked -> unblocked -> back     CLIENT UNBLOCK is answered, then the command
//     asked -> answered -> back      the other way round
//
// Meanwhile the client keeps the connection, and the command its entry and its bytes: nobody else
// can have the connection before it is known that the server unblocks nobody there any more.

import EventLoop
import Pool
import RESP
import Session

/// How far the recall of a command is. It ends with any answer that goes to the client.
enum Recall: Equatable {
    /// The server is asked to unblock it.
    case asked
    /// The server has unblocked it: nil is to come.
    case unblocked
    /// The server has answered with this nil, perhaps for another reason.
    case answered([UInt8])
    /// It is unblocked, and nothing of it is at the server any more.
    case back
}

extension UpstreamConnection {
    /// A command blocks here that can be recalled. It is the only one.
    var isRecallable: Bool {
        guard channel.isTLS, stage == .ready, let sole, case .exclusive = sole.kind,
            sole.isBlocking, sole.recall == nil, inFlight.entries == 1, output.isAllSent,
            origin.serverID != nil, origin.departure == nil, incoming.isAtStart, !scanner.isInside
        else { return false }
        let entry = inFlight.first
        guard entry.expectation == .plain || entry.expectation == .recalled, entry.count == 1,
            !entry.isSilent, let client = worker.clients[entry.client],
            client.upstream === self, client.mode == .exclusive, !client.channel.isTLS
        else { return false }
        return wait != nil
    }

    /// The command that blocks here, if it can be sent again; its bytes are all that is kept.
    private var wait: RepeatableWait? {
        let entry = inFlight.first
        guard entry.bytes > 0, output.forgotten == 0 else { return nil }
        let bytes = output.copy(offset: 0, count: Int(entry.bytes))
        var scanner = CommandScanner()
        guard
            case .command(let frame) = scanner.scan(
                bytes.span, frameStart: 0, limits: worker.limits.loggedIn),
            frame.end == bytes.count
        else { return nil }
        return RepeatableWait(entry.command, CommandTable.words(bytes.span, frame))
    }

    /// The command with what is left of its timeout.
    private var rest: [UInt8] {
        guard let wait else { return [] }
        return wait.bytes(left: left(of: wait))
    }

    /// What is left of a timeout, in nanoseconds.
    private func left(of wait: RepeatableWait) -> Int64 {
        guard let timeout = wait.timeout else { return .max }
        // The thread may have stood still since the turn began.
        return timeout - (EventLoop.now() - waitingSince.nanoseconds)
    }

    /// A recalled command that is back, for its client's input; nil if there is none.
    var recalled: [UInt8]? { sole?.recall == .back ? rest : nil }

    /// A recalled command is answered with nil.
    var isNilRecalled: Bool {
        switch sole?.recall {
        case .answered, .back: true
        case .asked, .unblocked, nil: false
        }
    }

    // MARK: Its way

    /// The server is being asked to unblock the command.
    func beginRecall() {
        sole?.recall = .asked
        inFlight.first.expectation = .recalled
    }

    /// The reply to a command that is recalled.
    func takeRecalled(_ entry: InFlight, _ reply: [UInt8]) {
        var cursor = ReplyCursor(from: 0)
        let isNil = cursor.next(reply.span)?.isNull == true
        switch sole?.recall {
        case nil: deliver(entry, reply)
        case .asked where isNil: sole?.recall = .answered(reply)
        case .unblocked where isNil: comeBack(reply)
        case .asked, .unblocked:
            giveUpRecall()
            deliver(entry, reply)
        case .answered, .back: poison("an unexpected reply")
        }
    }

    /// The client gets an element. The server may have yet to look for the command: another
    /// client's could be unblocked here in its place.
    func giveUpRecall() {
        guard sole?.recall != nil else { return }
        spoil(.dirty)
        sole?.recall = nil
    }

    /// Whether the server has unblocked the command; nil if that is not known. It may do so later
    /// then, so nobody uses this connection again.
    func recallAnswered(_ hasUnblocked: Bool?) {
        switch sole?.recall {
        case .asked:
            if hasUnblocked == nil { spoil(.dirty) }
            sole?.recall = hasUnblocked == false ? nil : .unblocked
        case .answered(let reply):
            if hasUnblocked == nil { spoil(.dirty) }
            if hasUnblocked == false {
                sole?.recall = nil
                deliver(inFlight.first, reply)
            } else {
                comeBack(reply)
            }
        case .unblocked, .back, nil: break
        }
    }

    /// The server has unblocked the command. If its time is over, the nil is the client's.
    private func comeBack(_ reply: [UInt8]) {
        guard let wait, left(of: wait) > 0 else {
            sole?.recall = nil
            deliver(inFlight.first, reply)
            return
        }
        sole?.recall = .back
        if !worker.isFreezing { sendAgain() }
    }

    // MARK: If there is no upgrade

    /// Sends a command that is back again.
    func sendAgain() {
        guard sole?.recall == .back else { return }
        let bytes = rest
        let entry = inFlight.first
        if ending.spoiled != nil, let client = worker.clients[entry.client] {
            finishHead()
            client.leaveSlowReaders(self)
            client.sendAgain(bytes, count: 1)
            takeBack()
            judgeReading()
            server.returned(self)
            return
        }
        sole?.recall = nil
        finishHead()
        expect(
            entry.client, .plain, bytes: bytes.count, value: entry.value, command: entry.command)
        send(bytes)
    }

    /// The connection is lost. A command that was answered with nil goes back to its client. False
    /// if there is none.
    func handBackRecalled() -> Bool {
        guard isNilRecalled, let client = worker.clients[inFlight.first.client] else {
            return false
        }
        let bytes = rest
        sole?.recall = nil
        output.drop(pool: worker.chunks)
        inFlight.removeAll()
        client.sendAgain(bytes, count: 1)
        return true
    }
}
