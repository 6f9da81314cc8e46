// Commands in an open transaction that change the connection when EXEC runs them, or whose element
// of EXEC's array is not what the client should see. The server's array is walked before it is
// passed on.

import Pool
import RESP
import Session

/// A member of a transaction whose element is looked at.
struct QueuedMember {
    /// Its place in EXEC's array.
    let index: Int
    let expectation: Expectation
    /// Belongs to the expectation.
    let value: UInt32
    /// The command itself.
    let words: [[UInt8]]
}

extension ClientConnection {
    /// Sends a command into the transaction, once it is certain that there is one.
    func queueMember(
        _ expectation: Expectation, _ value: UInt32, _ span: Span<UInt8>, _ frame: CommandFrame,
        _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if let plan = planWithoutTransaction(span, frame) {
            return carryOutHeld(plan, span, frame, bytes, count)
        }
        if expectation == .stranger {
            return queueStranger(span, frame, bytes, count)
        }
        // What EXEC's array says of this member could not be believed.
        if upstream?.isDoubtful == true {
            if session.replyMode == .on { return becomePipe() }
            upstream?.hold?.taint()
            return sendHeld(.plain, 0, bytes, count)
        }
        upstream?.hold?.queued()
        members.append(
            QueuedMember(
                index: Int(session.memberCount) - 1, expectation: expectation, value: value,
                words: CommandTable.words(span, frame)))
        return sendHeld(.plain, 0, bytes, count)
    }

    /// An unknown name: the server's answer says whether it is one.
    private func queueStranger(
        _ span: Span<UInt8>, _ frame: CommandFrame, _ bytes: UnsafeRawPointer, _ count: Int
    ) -> Outcome {
        switch pool.kind(of: UnknownName(frame, in: span, table: worker.table)) {
        case .denied: return refuseCommand()
        case .impossible: return refuseSubcommand(span, frame)
        case .known(.stranger): return sendHeld(.plain, 0, bytes, count)
        case .known, .unclear, .toAsk: break
        }
        if session.replyMode != .on { return pipeHeld(span, frame, bytes, count) }
        let outcome = sendHeld(.stranger, 0, bytes, count)
        mode = .barrier
        return outcome
    }

    /// The server has queued a command that may do anything when EXEC runs it.
    func pipeStranger() {
        guard hasQueuedStranger else { return }
        hasQueuedStranger = false
        if mode == .held { _ = becomePipe() }
    }

    /// EXEC of a transaction with such members. Nothing is sent behind it before it is answered:
    /// it may be meant for another user or database.
    func execMembers(_ bytes: UnsafeRawPointer, _ count: Int) -> Outcome {
        let outcome = sendHeld(.execWalked, session.memberCount, bytes, count)
        mode = .barrier
        return outcome
    }

    func takeMembers() -> [QueuedMember] {
        defer { members = [] }
        return members
    }

    /// What the client sees in place of `element`; its session changes as the element says.
    fileprivate func see(_ member: QueuedMember, _ element: [UInt8]) -> [UInt8] {
        switch member.expectation {
        case .rewriteList:
            listFilters.insert(ClientLine.Filter(member.words, others: []), at: 0)
            return ownValue(.rewriteList, element) ?? element
        case .hello:
            return HelloReply.replacingID(element, self)
        case .mirrorName, .mirrorInfo:
            IdentityChange(member.words)?.apply(to: &identity)
            return element
        default:
            return ownValue(member.expectation, element) ?? element
        }
    }
}

extension UpstreamConnection {
    /// Walks the reply to EXEC. Returns what its client is to see.
    func walk(_ reply: [UInt8], _ client: ClientConnection?) -> [UInt8] {
        let members = client?.takeMembers() ?? []
        guard !scanner.isError, scanner.type == UInt8(ascii: "*") else { return reply }
        guard let client, client.upstream === self else {
            // Members have run, and nobody knows any more what they were.
            hold?.taint()
            return reply
        }
        guard let elements = Elements(reply, passesLines: scanner.passesLines),
            elements.found.count == Int(inFlight.first.value)
        else {
            hold?.taint()
            return reply
        }
        var result: [UInt8] = []
        var position = 0
        var next = members[...]
        for (index, place) in elements.found.enumerated() {
            result += reply[position..<place.lowerBound]
            let element = Array(reply[place])
            position = place.upperBound
            if let member = next.first, member.index == index {
                next = next.dropFirst()
                result += walk(member, element, client)
            } else {
                result += element
            }
        }
        return result + reply[position...]
    }

    private func walk(
        _ member: QueuedMember, _ element: [UInt8], _ client: ClientConnection
    ) -> [UInt8] {
        let isError = element.first == UInt8(ascii: "-") || element.first == UInt8(ascii: "!")
        if isError { return element }
        let facts = ReplyFacts(
            type: element.first ?? 0, isError: false, isOK: element == Array("+OK\r\n".utf8),
            isQueued: false, isUnknownCommand: false)
        hold?.replied(to: member.expectation, facts, value: member.value)
        var newKey = key
        switch member.expectation {
        case .select:
            newKey.database = member.value
            if isOfThisServer { pool.noteSelected(newKey) }
            move(to: newKey, with: client)
        case .hello where member.value != 0:
            newKey.protocolVersion = UInt8(member.value)
            move(to: newKey, with: client)
        case .mirrorName, .mirrorInfo:
            identity.taint(member.expectation)
        default: break
        }
        return client.see(member, element)
    }

    /// Where the elements of an array are. Lines of MONITOR may stand between them.
    private struct Elements {
        var found: [Range<Int>] = []

        /// Nil when a push stands among them (Redis up to 7.0): they cannot be counted then.
        init?(_ reply: [UInt8], passesLines: Bool) {
            var cursor = ReplyCursor(from: 0, passesLines: passesLines)
            guard let outer = cursor.next(reply.span), outer.type == UInt8(ascii: "*") else {
                return nil
            }
            var begin = cursor.position
            while let item = cursor.next(reply.span) {
                if item.type == UInt8(ascii: ">") { return nil }
                if item.depth == 1, !item.isPassedLine {
                    found.append(begin..<cursor.position)
                } else if item.depth > 1, let last = found.last {
                    found[found.count - 1] = last.lowerBound..<cursor.position
                }
                begin = cursor.position
            }
        }
    }
}
