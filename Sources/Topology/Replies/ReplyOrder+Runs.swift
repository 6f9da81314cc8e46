// Several commands that are sent to a node one behind the other, and the replies to them: nearly
// all of a pipeline. What is done once for a run is not done for each command.
//
// An entry in the queue of an upstream has places of its client in their order, but not all of
// them: those between are of other nodes. Places whose commands were sent out of their order
// (`isLone`) have entries of their own. So the place behind one of an entry is the next one that is
// in flight on the same node and not lone.

import RESP

/// What `takeRun` has taken of the replies to an entry.
package struct TakenReplies: Equatable, Sendable {
    /// How many replies; they are whole.
    package var count: UInt32 = 0
    /// The place of the entry's next reply, if it has one.
    package var place: UInt32
    /// Where the bytes that are not taken begin.
    package var end: Int
    /// How many bytes are in `room`.
    package var ready = 0
}

extension ReplyOrder {
    /// A longer reply is not copied twice.
    private static let longestOfRun = 1 << 10

    /// Commands are sent, each to its node, behind all that the client has sent there. The client
    /// gets their replies.
    ///
    /// - Parameters:
    ///   - slots: those of the commands.
    ///   - nodes: their nodes, as many.
    /// - Returns: the place of the first one; the others follow.
    package mutating func open(run slots: Span<UInt16>, on nodes: Span<UInt16>) -> UInt32 {
        let place = first &+ UInt32(truncatingIfNeeded: count)
        var opened = 0
        for index in slots.indices {
            let node = UInt32(nodes[index])
            places.append(
                ReplyPlace(stage: .open, isSilent: false, slot: slots[index], node: node))
            opened += 1
            if index + 1 == slots.count || nodes[index + 1] != nodes[index] {
                joinStrand(node, opened)
                opened = 0
            }
        }
        return place
    }

    /// The place behind this one in the same entry; nil if there is none.
    package func nextPlace(after place: UInt32) -> UInt32? {
        guard let offset = offset(of: place) else { return nil }
        return nextOffset(after: offset, on: places[offset].node).map {
            first &+ UInt32(truncatingIfNeeded: $0)
        }
    }

    @inline(__always)
    private func nextOffset(after offset: Int, on node: UInt32) -> Int? {
        var next = offset + 1
        while next < count {
            if places[next].node == node, places[next].stage == .open, !places[next].isLone {
                return next
            }
            next += 1
        }
        return nil
    }

    /// Takes whole replies to an entry, as far as they are short, no errors, and wanted by the
    /// client. Others are left to `take`.
    ///
    /// - Parameters:
    ///   - start: where the first one begins.
    ///   - place: its place.
    ///   - most: the number of replies that the entry owes.
    ///   - room: gets what the client can get now. Then `isReady` is asked.
    package mutating func takeRun(
        _ bytes: Span<UInt8>, from start: Int, of place: UInt32, most: UInt32,
        into room: UnsafeMutableRawBufferPointer
    ) -> TakenReplies {
        var taken = TakenReplies(place: place, end: start)
        guard var offset = offset(of: place) else { return taken }
        let node = places[offset].node
        while taken.count < most, taken.end < bytes.count, isUsual(offset) {
            guard let end = ReplyScanner.endOfUsual(bytes, from: taken.end),
                end - taken.end <= ReplyOrder.longestOfRun
            else { break }
            let isLast = taken.count + 1 == most
            let next = isLast ? nil : nextOffset(after: offset, on: node)
            let before = first
            unsafe takeWhole(
                bytes.extracting(taken.end..<end), at: offset, into: room, &taken.ready)
            taken.count += 1
            taken.end = end
            // Without a next one no more is owed: the number is that of no place.
            let gone = Int(first &- before)
            offset = next.map { $0 - gone } ?? count
            taken.place = first &+ UInt32(truncatingIfNeeded: offset)
            if next == nil { break }
        }
        if taken.count > 0 { leaveStrand(node, Int(taken.count)) }
        return taken
    }

    /// Nothing has come of the reply, and the client gets it as it is.
    @inline(__always)
    private func isUsual(_ offset: Int) -> Bool {
        places[offset].stage == .open && !places[offset].isSilent && !places[offset].isPart
            && places[offset].isEmpty && !(offset == 0 && hasBegun)
    }

    @inline(__always)
    private mutating func takeWhole(
        _ reply: Span<UInt8>, at offset: Int, into room: UnsafeMutableRawBufferPointer,
        _ ready: inout Int
    ) {
        guard offset == 0, reply.count <= room.count - ready else {
            keep(reply, in: offset)
            places[offset].stage = .done
            return
        }
        unsafe reply.withUnsafeBytes { source in
            unsafe UnsafeMutableRawBufferPointer(rebasing: room[ready...]).copyMemory(from: source)
        }
        ready += reply.count
        removeFirst(1)
        unsafe drainShort(into: room, &ready)
    }

    /// Moves the replies that are next, complete and short, as many as there is room for.
    @inline(__always)
    private mutating func drainShort(
        into room: UnsafeMutableRawBufferPointer, _ ready: inout Int
    ) {
        while count > 0 {
            let size = Int(places[0].count)
            guard places[0].stage == .done, !places[0].isPart,
                places[0].chunk == ParkedChunks.none, size <= room.count - ready
            else { return }
            unsafe withUnsafeBytes(of: places[0].bytes) { source in
                unsafe UnsafeMutableRawBufferPointer(rebasing: room[ready...]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: source[..<size]))
            }
            ready += size
            removeFirst(1)
        }
    }
}
