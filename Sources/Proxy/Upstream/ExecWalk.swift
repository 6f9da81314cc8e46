// Reads EXEC's array where some elements matter; see `ClientConnection+Queued`. The array passes as
// it comes, however long it is. Only elements that matter are collected, up to `mostCollected`
// bytes.

import Pool
import RESP
import Session

/// The position in the array.
struct ExecWalk {
    /// How the element that is coming in is handled.
    enum Fate {
        /// It does not matter and is passed on.
        case passing
        /// It is collected until it is complete.
        case held
        /// It is too long to be collected, and the client gets another value in its place.
        case dropped
        /// It is too long to be collected, and is passed on unread.
        case unseen
    }

    /// The members that are still to come, the next one first.
    var members: ArraySlice<QueuedMember>
    /// The client had left before the array came, so its members are not known any more.
    let isOrphan: Bool
    /// The array's header has not come whole.
    var isHeader = true
    /// The number of elements that are still to come.
    var left = 0
    /// The index of the element that is coming in.
    var index = 0
    var fate = Fate.passing
    /// A message is coming in, not an element.
    var isMessage = false
    var scanner = ReplyScanner()

    init(_ members: [QueuedMember]?, passesLines: Bool) {
        self.members = (members ?? [])[...]
        isOrphan = members == nil
        scanner.passesLines = passesLines
    }

    /// The element that is coming in is the next member's.
    var isLookedAt: Bool { left > 0 && members.first?.index == index }

    /// What was just scanned is no element: a push, or a line of MONITOR.
    var isBetween: Bool {
        if scanner.isPush { return true }
        guard scanner.passesLines, scanner.type == UInt8(ascii: "+"),
            let first = scanner.head.bytes.first
        else { return false }
        return (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
    }

    /// An element is complete. Returns its member.
    mutating func passed() -> QueuedMember? {
        let isMember = isLookedAt
        fate = .passing
        if isBetween { return nil }
        index += 1
        left -= 1
        return isMember ? members.popFirst() : nil
    }
}

extension UpstreamConnection {
    /// Takes bytes of the array. `isComplete` says that they are the last ones.
    func walkOn(_ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, isComplete: Bool) {
        let client = worker.clients[entry.client]
        var walk =
            incoming.walk
            ?? ExecWalk(
                client?.upstream === self ? client?.session.takeMembers() : nil,
                passesLines: scanner.passesLines)
        let piece = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        let rest = pass(entry, piece, &walk)
        incoming.walk = walk
        guard isComplete else {
            deliver(entry, bytes + rest, count - rest, 0)
            return
        }
        incoming.walk = nil
        incoming.collected = []
        // Members have run whose results have not been read.
        let hasRun = !scanner.isError && scanner.type == UInt8(ascii: "*") && scanner.integer > 0
        if hasRun, walk.isOrphan || !walk.members.isEmpty { taint() }
        takeNote(entry)
        deliver(entry, bytes + rest, count - rest, 1)
    }

    /// Reads up to the last element that matters. Returns the position from which the rest passes
    /// on.
    private func pass(
        _ entry: InFlight, _ piece: UnsafeBufferPointer<UInt8>, _ walk: inout ExecWalk
    ) -> Int {
        var position = 0
        var sent = 0
        if walk.isHeader {
            guard let end = piece.firstIndex(of: 10) else { return sent }
            walk.isHeader = false
            position = end + 1
            // An array with another number of elements does not belong to these commands.
            let isArray = scanner.type == UInt8(ascii: "*")
            if isArray, scanner.integer == Int64(entry.value) { walk.left = Int(entry.value) }
        }
        while walk.left > 0, entry.isSilent || !walk.members.isEmpty, position < piece.count {
            if !walk.scanner.isInside { walk.isMessage = piece[position] == UInt8(ascii: ">") }
            if walk.fate == .passing, walk.isLookedAt {
                deliver(entry, piece.baseAddress! + sent, position - sent, 0)
                sent = position
                walk.fate = .held
            }
            let end: Int
            let isWhole: Bool
            switch walk.scanner.scan(piece.span, from: position) {
            case .complete(let next):
                end = next
                isWhole = true
            case .incomplete:
                end = piece.count
                isWhole = false
            case .invalid:
                // The scanner of the whole reply has already found it valid.
                walk.left = 0
                return sent
            }
            if entry.isSilent, walk.isMessage {
                passMessage(entry, UnsafeBufferPointer(rebasing: piece[position..<end]))
            }
            if walk.fate != .passing {
                let part = UnsafeRawBufferPointer(
                    UnsafeBufferPointer(rebasing: piece[position..<end]))
                hold(back: part, of: entry, &walk)
                sent = end
            }
            position = end
            if isWhole { finishElement(entry, &walk) }
        }
        return sent
    }

    /// Passes on a part of a message inside an array that CLIENT REPLY hides.
    private func passMessage(_ entry: InFlight, _ part: UnsafeBufferPointer<UInt8>) {
        guard let client = worker.clients[entry.client], client.upstream === self,
            let base = part.baseAddress
        else { return }
        client.receive(base, count: part.count)
        client.checkPace(self)
    }

    /// Takes a part of an element that matters.
    private func hold(
        back part: UnsafeRawBufferPointer, of entry: InFlight, _ walk: inout ExecWalk
    ) {
        if walk.fate == .held {
            if incoming.collected.count + part.count <= UpstreamConnection.mostCollected {
                incoming.collected.append(contentsOf: part)
                return
            }
            // Redpool's own list replaces the server's.
            let isText =
                walk.scanner.type == UInt8(ascii: "$") || walk.scanner.type == UInt8(ascii: "=")
            if isText, walk.members.first?.expectation == .rewriteList {
                walk.fate = .dropped
                let room = UpstreamConnection.mostCollected - incoming.collected.count
                incoming.collected.append(contentsOf: part.prefix(room))
                return
            }
            walk.fate = .unseen
            relay(entry, takeCollected())
        }
        if walk.fate == .unseen, let base = part.baseAddress {
            deliver(entry, base, part.count, 0)
        }
    }

    private func finishElement(_ entry: InFlight, _ walk: inout ExecWalk) {
        let fate = walk.fate
        var element = fate == .passing ? [] : takeCollected()
        if fate == .dropped { element = ClientLine.firstLine(of: element) }
        let member = walk.passed()
        switch fate {
        case .passing: break
        case .held, .dropped:
            guard let member else {
                relay(entry, element)
                return
            }
            guard let client = worker.clients[entry.client], client.upstream === self else {
                // Members have run, and it is not known any more what they were.
                taint()
                return
            }
            relay(entry, see(member, element, walk.scanner, client))
            worker.boundOutput()
        case .unseen:
            if member != nil { taint() }
        }
    }

    /// The value that the client gets in place of `member`'s element. Changes of this connection's
    /// state are recorded.
    private func see(
        _ member: QueuedMember, _ element: [UInt8], _ scanner: ReplyScanner,
        _ client: ClientConnection
    ) -> [UInt8] {
        if scanner.isError { return element }
        let facts = ReplyFacts(scanner)
        heldReplied(to: member.expectation, facts, value: member.value)
        let meaning = Meaning(
            member.expectation, value: member.value, facts, isBelieved: isBelieved)
        client.take(member, meaning, over: id)
        carryOut(meaning, member.expectation)
        return client.see(member, element)
    }
}
