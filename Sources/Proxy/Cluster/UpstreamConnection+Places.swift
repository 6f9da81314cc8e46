// Replies to commands with places, and what is known of those commands.

import Pool
import RESP
import Session
import Topology

extension UpstreamConnection {
    /// Passes on whole replies to an entry that may have several places, as far as they are usual:
    /// nearly all. What is not is left to `relayRun`. Returns the next position.
    @inline(never)
    func relayPlacedRun(_ bytes: UnsafeRawPointer, _ span: Span<UInt8>, from start: Int) -> Int {
        let entry = inFlight.first
        guard isShared, fence == nil, !scanner.isInside, !gauge.measures,
            let client = worker.clients.unretained(entry.client)
        else { return relayRun(bytes, span, from: start) }
        return client._withUnsafeGuaranteedRef { client in
            guard let strands = client.strands(over: self), client.putsReplies else {
                return relayRun(bytes, span, from: start)
            }
            let room = worker.work.passing
            let taken = strands.order.takeRun(
                span, from: start, of: entry.value, most: entry.count, into: room)
            guard taken.count > 0 else { return relayRun(bytes, span, from: start) }
            countReplies(taken.count, entry)
            finishHead(taken.count)
            if entry.count > taken.count { inFlight.first.value = taken.place }
            countFinished(taken.count)
            client.receivePlacedRun(
                UnsafeRawBufferPointer(rebasing: room[..<taken.ready]), strands)
            return taken.end
        }
    }

    /// Replies to commands with places: one, or a piece of it; of a block several.
    @inline(never)
    func relayPlaced(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, _ finished: UInt32
    ) {
        if finished > 0 { countReplies(finished, entry) }
        guard case .placed = entry.expectation else {
            deliverBlock(entry, bytes, count, finished)
            return
        }
        deliverPlaced(entry, bytes, count, isComplete: finished > 0)
    }

    /// `deliver` for a command with a place.
    func deliverPlaced(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, isComplete: Bool
    ) {
        let client = worker.clients.unretained(entry.client)
        if isComplete {
            // The last place of an entry has none behind it, but all the order would be looked at.
            let next =
                entry.count == 1
                ? nil
                : client?._withUnsafeGuaranteedRef {
                    $0.strands(over: self)?.order.nextPlace(after: entry.value)
                }
            finishHead()
            // Without a next place the client gets no more of this entry, see `receivePlaced`.
            if let next { inFlight.first.value = next }
            countFinished(1)
        }
        client?._withUnsafeGuaranteedRef { client in
            guard let strands = client.strands(over: self) else { return }
            client.receivePlaced(
                UnsafeRawBufferPointer(start: bytes, count: count), of: entry.value,
                isComplete: isComplete, strands)
        }
    }

    /// A client's commands in flight here have got their places: says what is known of them.
    func describePlaced(of client: SlotID, in strands: ClientStrands) {
        var start = output.appendedTotal
        var missing = strands.order.count
        inFlight.forEachFromNewest { entry in
            start -= Int64(entry.bytes)
            guard entry.client == client else { return true }
            describe(entry, start: start, in: strands)
            missing -= Int(entry.count)
            return missing > 0
        }
    }

    private func describe(_ entry: InFlight, start: Int64, in strands: ClientStrands) {
        if entry.isSilent {
            for index in 0..<entry.count {
                strands.order.describe(
                    entry.value &+ index, slot: PlaceSlot.unknown, isSilent: true)
            }
        }
        guard start >= output.releasedTotal, entry.bytes > 0 else { return }
        let offset = Int(start - output.releasedTotal)
        if let piece = output.piece(offset: offset, count: Int(entry.bytes)) {
            describe(entry, piece.bindMemory(to: UInt8.self).span, in: strands)
        } else {
            let copy = output.copy(offset: offset, count: Int(entry.bytes))
            describe(entry, copy.span, in: strands)
        }
    }

    /// `bytes` are all commands of the entry, those that are answered included.
    private func describe(
        _ entry: InFlight, _ bytes: Span<UInt8>, in strands: ClientStrands
    ) {
        guard let all = count(ofCommandsIn: bytes), all >= Int(entry.count) else { return }
        var answered = all - Int(entry.count)
        var place = entry.value
        var scanner = CommandScanner()
        var position = 0
        while position < bytes.count,
            case .command(let frame) = scanner.scan(
                bytes, frameStart: position, limits: worker.limits.loggedIn)
        {
            position = frame.end
            if answered > 0 {
                answered -= 1
                continue
            }
            strands.order.describe(
                place, slot: worker.table.slot(of: frame, bytes), isSilent: entry.isSilent)
            place &+= 1
        }
    }

    /// Nil if they are not whole.
    private func count(ofCommandsIn bytes: Span<UInt8>) -> Int? {
        var scanner = CommandScanner()
        var position = 0
        var count = 0
        while position < bytes.count {
            guard
                case .command(let frame) = scanner.scan(
                    bytes, frameStart: position, limits: worker.limits.loggedIn)
            else { return nil }
            position = frame.end
            count += 1
        }
        return count
    }
}

extension CommandTable {
    /// Which one a whole command is.
    func command(of bytes: [UInt8]) -> Command {
        var scanner = CommandScanner()
        guard
            case .command(let frame) = scanner.scan(
                bytes.span, frameStart: 0, limits: CommandLimits())
        else { return .unknown }
        return find(bytes.span, frame)
    }

    /// The slot of a whole command, or one of `PlaceSlot`.
    func slot(of command: [UInt8]) -> UInt16 {
        var scanner = CommandScanner()
        guard
            case .command(let frame) = scanner.scan(
                command.span, frameStart: 0, limits: CommandLimits())
        else { return PlaceSlot.unknown }
        return slot(of: frame, command.span)
    }

    /// The same for a frame in `bytes`.
    func slot(of frame: CommandFrame, _ bytes: Span<UInt8>) -> UInt16 {
        switch slots(find(bytes, frame), bytes, frame) {
        case .none: return PlaceSlot.none
        case .one(let slot): return slot
        case .several, .malformed: return PlaceSlot.unknown
        }
    }
}
