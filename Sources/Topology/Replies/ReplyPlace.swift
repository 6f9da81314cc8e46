// One command in the order of its client's replies.

/// What becomes of bytes that a node has sent for a place.
package enum ReplyWay: Equatable, Sendable {
    /// The client gets these bytes at once: the caller passes them on. Then `isReady` is asked.
    case pass
    /// The bytes are parked, or nobody gets them. Then `isReady` is asked.
    case parked
    /// The same; and all parts of the gather that begins with this place have been answered.
    /// `takeParts` has their replies, and `answer` takes the one that is made of them.
    case gathered(UInt32)
    /// No reply is owed for such a place. Nothing has been taken; the caller closes the client,
    /// because its replies cannot be told apart any more.
    case mismatch
}

/// The slot of a place that has none, or of which it is not known.
package enum PlaceSlot {
    /// The command has no keys.
    package static let none: UInt16 = 0xFFFE
    /// The command may have keys in any slot.
    package static let unknown: UInt16 = 0xFFFF
}

/// A command that has not been answered, or whose reply cannot go out yet.
struct ReplyPlace {
    /// What is in a place.
    enum Stage: UInt8 {
        /// The command is in flight on `node`. What has come of its reply is parked here.
        case open
        /// It is on no node. Its bytes are kept here until it is sent.
        case held
        /// Its reply is complete.
        case done
    }

    /// The first bytes of what is kept.
    var bytes = InlineArray<44, UInt8>(repeating: 0)
    /// How many of them there are.
    var count: UInt8 = 0
    var stage: Stage
    /// The client does not get the reply.
    var isSilent: Bool
    /// It is a part of a gather that is not answered.
    var isPart = false
    /// Commands with later places may have been sent to its node before it, so its entry in the
    /// queue of the upstream has no other place.
    var isLone = false
    /// Of the first part: the client does not get the reply that is made of the parts.
    var isSilentGather = false
    var slot: UInt16
    /// Of a part: how many places before this one its gather begins.
    var distance: UInt16 = 0
    /// Of the first part: how many parts have not been answered.
    var missing: UInt16 = 0
    /// The rest of what is kept, in `ParkedChunks`.
    var chunk = ParkedChunks.none
    /// The caller's number of the node, while it is open.
    var node: UInt32

    static let room = 44

    /// Nothing is kept here.
    var isEmpty: Bool { count == 0 && chunk == ParkedChunks.none }

    /// Keeps bytes for which there is room, behind those that are there.
    mutating func append(_ new: Span<UInt8>) {
        let old = Int(count)
        guard new.count <= ReplyPlace.room - old else { return }
        unsafe new.withUnsafeBytes { source in
            unsafe withUnsafeMutableBytes(of: &bytes) { room in
                unsafe UnsafeMutableRawBufferPointer(rebasing: room[old...]).copyMemory(
                    from: source)
            }
        }
        count += UInt8(new.count)
    }
}
