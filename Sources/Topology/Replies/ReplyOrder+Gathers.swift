// Commands with several parts and one reply. Each part has a place of its own, so it is sent,
// refused and sent again as any command; but its reply stays where it is until all parts are
// answered.

extension ReplyOrder {
    /// A command of several parts begins, 1 to 65,535; nil for other numbers. Returns the place of
    /// the first part; the others follow. They are held, without bytes until `hold` or `sendPart`.
    package mutating func openGather(parts: Int, isSilent: Bool = false) -> UInt32? {
        guard (1...Int(UInt16.max)).contains(parts) else { return nil }
        let lead = first &+ UInt32(truncatingIfNeeded: count)
        for part in 0..<parts {
            _ = openHeld(slot: PlaceSlot.unknown)
            let index = count - 1
            places[index].isPart = true
            places[index].distance = UInt16(part)
        }
        let index = count - parts
        places[index].missing = UInt16(parts)
        places[index].isSilentGather = isSilent
        return lead
    }

    /// A part that has no bytes is sent to a node: it is not held any more.
    package mutating func sendPart(_ place: UInt32, slot: UInt16, to node: UInt32) {
        guard let offset = offset(of: place), places[offset].stage == .held else {
            return
        }
        places[offset].slot = slot
        places[offset].stage = .open
        places[offset].node = node
        places[offset].isLone = true
        heldCount -= 1
        joinStrand(node)
    }

    /// Parts are too large together, or nobody wants them: what is kept of their replies is
    /// dropped, and so is what comes. `takeParts` gives nil then.
    package mutating func dropParts(of place: UInt32) {
        guard let (offset, parts) = gather(of: place) else { return }
        for part in 0..<parts {
            let index = offset + part
            places[index].isSilent = true
            if places[index].stage != .held { empty(index) }
        }
    }

    /// Appends the replies to the parts of a gather that is complete to `replies`, in their order,
    /// and says where each one ends. Nil if it is not there, not complete, or dropped. `answer` for
    /// the same place follows.
    package mutating func takeParts(of lead: UInt32, into replies: inout [UInt8]) -> [Int]? {
        guard let (offset, parts) = gather(of: lead), places[offset].missing == 0,
            !places[offset].isSilent
        else { return nil }
        replies.reserveCapacity(replies.count + parts * ReplyPlace.room)
        var ends: [Int] = []
        ends.reserveCapacity(parts)
        for part in 0..<parts {
            moveAll(of: offset + part, into: &replies)
            ends.append(replies.count)
        }
        return ends
    }

    /// A part has been answered. `.gathered` for the last one.
    mutating func finishPart(at offset: Int) -> ReplyWay {
        let lead = offset - Int(places[offset].distance)
        places[lead].missing -= 1
        guard places[lead].missing == 0 else { return .parked }
        return .gathered(first &+ UInt32(truncatingIfNeeded: lead))
    }

    /// The gather that begins here is answered: its places become usual ones, all but the first one
    /// with nothing in them. False if it is none, or not complete.
    mutating func endGather(at offset: Int) -> Bool {
        guard places[offset].isPart, places[offset].distance == 0, places[offset].missing == 0
        else {
            return false
        }
        let isSilent = places[offset].isSilentGather
        for part in 0..<count(ofPartsAt: offset) {
            let offset = offset + part
            empty(offset)
            places[offset].isPart = false
        }
        places[offset].isSilent = isSilent
        return true
    }

    /// The first place of the gather that a part belongs to, and how many parts it has.
    private func gather(of place: UInt32) -> (offset: Int, parts: Int)? {
        guard let offset = offset(of: place), places[offset].isPart else { return nil }
        let lead = offset - Int(places[offset].distance)
        return (lead, count(ofPartsAt: lead))
    }

    private func count(ofPartsAt lead: Int) -> Int {
        var parts = 1
        while lead + parts < count, places[lead + parts].isPart,
            Int(places[lead + parts].distance) == parts
        {
            parts += 1
        }
        return parts
    }
}
