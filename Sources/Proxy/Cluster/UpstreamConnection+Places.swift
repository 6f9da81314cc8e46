// Replies to commands with places, and what is known of those commands.

import Pool
import RESP
import Session
import Topology

extension UpstreamConnection {
    /// Replies to commands with places, or a piece of one. The last `piece` bytes, if there are
    /// any, are of the reply behind those that are complete: they belong to another place.
    @inline(never)
    func relayPlaced(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, _ finished: UInt32,
        _ piece: Int
    ) {
        if finished > 0 { countReplies(finished, entry) }
        guard case .placed = entry.expectation else {
            deliverBlock(entry, bytes, count, finished)
            return
        }
        guard finished > 0, piece > 0 else {
            deliverPlaced(entry, bytes, count, finished)
            return
        }
        deliverPlaced(entry, bytes, count - piece, finished)
        guard stage == .ready, !inFlight.isEmpty else { return }
        deliverPlaced(inFlight.first, bytes + (count - piece), piece, 0)
    }

    /// `deliver` for commands with places.
    func deliverPlaced(
        _ entry: InFlight, _ bytes: UnsafeRawPointer, _ count: Int, _ finished: UInt32
    ) {
        if finished > 0 {
            finishHead(finished)
            if entry.count > finished { inFlight.first.value &+= finished }
            countFinished(finished)
        }
        worker.clients.unretained(entry.client)?._withUnsafeGuaranteedRef { client in
            guard let strands = client.strands(over: self) else { return }
            client.receivePlaced(
                UnsafeRawBufferPointer(start: bytes, count: count), of: entry.value,
                completing: finished, strands)
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
