// A client's commands in flight on several nodes, and the order of their replies. Each command has
// a place. What a node answers for the first place goes to the client as it comes; what comes for
// another place is parked until all before it are answered. In the files beside this one:
//
//   +Runs       several commands to a node at once, and their replies
//   +Strands    commands that are held, sent to another node, or answered by Redpool
//   +Gathers    several parts with one reply
//
// A client with all its commands in flight on one node needs none of this.

/// The places of one client, oldest first. It begins when a client has commands in flight on a
/// second node, or when a node refuses a command and others are in flight behind it. It ends
/// (`isOver`) when all replies have gone out.
///
/// Places are numbers that follow each other and wrap around. An entry in the queue of an upstream
/// names the place of its next reply; `nextPlace` finds the one behind it. Calls for a place that
/// is not there change nothing.
package struct ReplyOrder: ~Copyable {
    /// The part of the client's commands that is in flight on one node.
    struct Strand {
        let node: UInt32
        var open: Int
    }

    var places = PlaceRing()
    /// The number of the first place.
    package private(set) var first: UInt32 = 0
    /// Bytes of the first place's reply have gone out.
    private(set) var hasBegun = false
    var strands: [Strand] = []
    var chunks = ParkedChunks()
    /// How many places are held. While there are any, the client sends nothing more.
    package internal(set) var heldCount = 0

    /// The most bytes, but for the last piece, that `drain` hands over in one call.
    private static let mostDrained = 64 << 10

    /// For a client with `open` commands in flight on one node, whose places are 0, 1 and so on.
    /// Their slots are unknown until `describe` is told.
    ///
    /// - Parameter hasBegun: the client has got a part of the oldest one's reply.
    package init(open: Int, on node: UInt32, hasBegun: Bool = false) {
        begin(open: open, on: node, hasBegun: hasBegun)
    }

    /// The same for an order that is over. Its memory is used again.
    package mutating func begin(open: Int, on node: UInt32, hasBegun: Bool = false) {
        first = 0
        for _ in 0..<max(open, 0) { _ = self.open(slot: PlaceSlot.unknown, on: node) }
        self.hasBegun = hasBegun && count > 0
    }

    /// How many places there are.
    package var count: Int { places.count }

    /// All replies have gone out; nothing is kept.
    package var isOver: Bool { count == 0 }

    /// The memory of what is kept, in bytes; 0 when it is over. The caller bounds it: beyond some
    /// number it does not read the client, beyond a larger one it closes it.
    package var memory: Int {
        isOver ? 0 : places.capacity * MemoryLayout<ReplyPlace>.stride + chunks.memory
    }

    /// The memory of parked replies and of held commands that are not short, in bytes.
    package var parkedMemory: Int { chunks.memory }

    /// The node that has the oldest command without its whole reply; nil if that is held.
    package var nextNode: UInt32? {
        for offset in 0..<count where places[offset].stage != .done {
            let next = places[offset]
            return next.stage == .open ? next.node : nil
        }
        return nil
    }

    /// How many of the client's commands are in flight on a node. At 0 the client leaves its
    /// upstream there.
    package func open(on node: UInt32) -> Int {
        for strand in strands where strand.node == node { return strand.open }
        return 0
    }

    /// On how many nodes they are.
    package var nodes: Int { strands.count }

    // MARK: Commands

    /// A command is sent to a node, behind all that the client has sent there. Returns its place.
    package mutating func open(slot: UInt16, on node: UInt32, isSilent: Bool = false) -> UInt32 {
        joinStrand(node)
        return append(ReplyPlace(stage: .open, isSilent: isSilent, slot: slot, node: node))
    }

    /// A command that has not been sent has a place: Redpool answers it, or sends it later.
    package mutating func openHeld(slot: UInt16, isSilent: Bool = false) -> UInt32 {
        heldCount += 1
        return append(ReplyPlace(stage: .held, isSilent: isSilent, slot: slot, node: 0))
    }

    /// What is known of a place that was opened without it.
    package mutating func describe(_ place: UInt32, slot: UInt16, isSilent: Bool) {
        guard let offset = offset(of: place) else { return }
        places[offset].slot = slot
        places[offset].isSilent = isSilent
    }

    mutating func append(_ place: ReplyPlace) -> UInt32 {
        places.append(place)
        return first &+ UInt32(truncatingIfNeeded: places.count &- 1)
    }

    // MARK: Replies

    /// Bytes have come for a place: the rest of its reply, or a piece of it and no more.
    package mutating func take(
        _ bytes: Span<UInt8>, of place: UInt32, isComplete: Bool
    ) -> ReplyWay {
        guard let offset = offset(of: place), places[offset].stage == .open else {
            return .mismatch
        }
        if isComplete { leaveStrand(places[offset].node, 1) }
        return put(bytes, at: offset, isComplete: isComplete)
    }

    /// Passes bytes on or parks them, and ends the place if they complete it.
    mutating func put(_ bytes: Span<UInt8>, at offset: Int, isComplete: Bool) -> ReplyWay {
        let isSilent = places[offset].isSilent
        if offset == 0, !isSilent, !places[offset].isPart, places[offset].isEmpty {
            if isComplete {
                removeFirst(1)
            } else if !bytes.isEmpty {
                hasBegun = true
            }
            return .pass
        }
        if !isSilent { keep(bytes, in: offset) }
        guard isComplete else { return .parked }
        places[offset].stage = .done
        return places[offset].isPart ? finishPart(at: offset) : .parked
    }

    /// There is something for the client: the caller calls `drain` until there is not.
    package var isReady: Bool {
        guard count > 0 else { return false }
        switch places[0].stage {
        case .held: return false
        case .open: return !places[0].isPart && !places[0].isEmpty
        case .done: return !places[0].isPart
        }
    }

    /// Appends what the client can get now to `output`, about 64 KB at most.
    package mutating func drain(into output: inout [UInt8]) {
        let end = output.count + ReplyOrder.mostDrained
        while isReady, output.count < end {
            hasBegun = hasBegun || !places[0].isEmpty
            moveInline(of: 0, into: &output)
            while output.count < end, places[0].chunk != ParkedChunks.none {
                chunks.moveFirst(of: &places[0].chunk, into: &output)
            }
            if places[0].isEmpty, places[0].stage == .done { removeFirst(1) }
        }
    }

    /// The client has left: nothing is kept any more.
    package mutating func removeAll() {
        removeFirst(count)
        strands = []
        chunks = ParkedChunks()
        heldCount = 0
    }

    // MARK: Memory

    /// Keeps bytes in a place, behind those that are there.
    mutating func keep(_ bytes: Span<UInt8>, in offset: Int) {
        let old = Int(places[offset].count)
        guard places[offset].chunk == ParkedChunks.none, old + bytes.count <= ReplyPlace.room else {
            chunks.append(bytes, from: 0, to: &places[offset].chunk)
            return
        }
        places[offset].append(bytes)
    }

    /// Frees what is kept in a place.
    mutating func empty(_ offset: Int) {
        places[offset].count = 0
        chunks.drop(&places[offset].chunk)
    }

    /// Appends what is kept in a place to an array, and frees it.
    mutating func moveAll(of offset: Int, into output: inout [UInt8]) {
        moveInline(of: offset, into: &output)
        while places[offset].chunk != ParkedChunks.none {
            chunks.moveFirst(of: &places[offset].chunk, into: &output)
        }
    }

    private mutating func moveInline(of offset: Int, into output: inout [UInt8]) {
        let count = Int(places[offset].count)
        guard count > 0 else { return }
        let bytes = places[offset].bytes
        unsafe bytes.span.extracting(first: count).withUnsafeBufferPointer {
            unsafe output.append(contentsOf: $0)
        }
        places[offset].count = 0
    }

    mutating func removeFirst(_ gone: Int) {
        hasBegun = false
        first &+= UInt32(truncatingIfNeeded: gone)
        places.removeFirst(gone)
    }

    /// How many places are before this one; nil if it is not there.
    func offset(of place: UInt32) -> Int? {
        let offset = Int(place &- first)
        return offset < count ? offset : nil
    }
}
