// What is under way on each hub: asks of clients, and the commands that are sent.

/// A client's command of the SUBSCRIBE family, RESET or QUIT, until it is answered.
struct Ask {
    enum Wish {
        case begin(SubscribeVerb, [[UInt8]])
        case end(SubscribeVerb, [[UInt8]])
        /// All of a kind.
        case endAll(SubscribeVerb)
        /// All that the client has.
        case leave(SubscriptionEnd)
    }

    /// A subscription that the ask begins or ends, on a hub where it is sent.
    struct Target {
        let entry: Int
        /// The index of the name in the command, where it has names.
        let name: Int
    }

    /// Nil once the client is gone.
    var client: Int?
    let wish: Wish
    /// Where the client wants it.
    var hub: HubRef
    /// How often a node has named another one for it.
    var hops = 0
    /// In the order of the names, or of the client's subscriptions.
    var targets: [Target] = []
    /// How many names of a begin are confirmed.
    var confirmed = 0
    /// The hubs on which it is not answered.
    var openPlaces = 0
    /// The client has got an error for it.
    var isRefused = false
    /// It was sent on a hub that was lost, and then again.
    var isRepeated = false

    init(client: Int, wish: Wish, hub: HubRef) {
        self.client = client
        self.wish = wish
        self.hub = hub
    }
}

/// A command that is sent on a hub and not answered.
struct Send {
    enum Purpose {
        case ask(Int)
        /// Names that nobody wants.
        case unwanted
        /// Names that are wanted and not subscribed: after a loss.
        case anew
    }

    static let noEntry: UInt32 = .max

    let verb: SubscribeVerb
    let names: [[UInt8]]
    /// For each name its entry, or `noEntry`.
    let entries: [UInt32]
    let purpose: Purpose
    /// How many names are confirmed.
    var confirmed = 0
}

/// A hub that is open, or that is to be.
struct Hub {
    enum State: Equatable {
        /// With `isKept` it was open before, and its listeners wait.
        case opening(isKept: Bool)
        case open
    }

    var state = State.opening(isKept: false)
    var sends = Fifo<Send>()
    /// Asks that are sent once it is open.
    var waiting: [Int] = []
    /// How many entries it has, and how many of these are stuck.
    var entries = 0
    var stuck = 0
    /// Entries that may have to be unsubscribed.
    var unwantedChannels = Fifo<UInt32>()
    var unwantedPatterns = Fifo<UInt32>()
    var unwantedShards = Fifo<UInt32>()
    /// Entries that are to be subscribed anew, each list in one command.
    var anew = Fifo<[UInt32]>()
    /// It is in the list of hubs that may have something of their own to send, or be over.
    var isRestless = false

    subscript(unwanted kind: SubscriptionKind) -> Fifo<UInt32> {
        _read {
            switch kind {
            case .channel: yield unwantedChannels
            case .pattern: yield unwantedPatterns
            case .shard: yield unwantedShards
            }
        }
        _modify {
            switch kind {
            case .channel: yield &unwantedChannels
            case .pattern: yield &unwantedPatterns
            case .shard: yield &unwantedShards
            }
        }
    }
}
