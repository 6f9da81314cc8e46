// Where the commands of a client go whose subscriptions are on hubs (`pubsub: shared`). What it
// subscribes to, PING in RESP2 and PUBLISH in RESP3 go over its hub, so they are answered in the
// order of its messages. Other commands of RESP3 go where any client's go; in RESP2 the server
// refuses them, in its own words (`Gate`). Between a hub and elsewhere the client waits for its
// answers, so that they keep their order.

import Config
import EventLoop
import Pool
import RESP
import Session

/// What Redpool has to know of a client that subscribes on hubs. There may be thousands of those,
/// and this is small beside `ClientExtras`.
final class Subscribing {
    /// The commands of the SUBSCRIBE family that are not answered yet, oldest first: whether CLIENT
    /// REPLY hides an error.
    private(set) var asks: [(isSilent: Bool, bytes: Int)] = []
    /// The bytes of names that Redpool keeps for them. They count in the sum over all clients.
    private(set) var asked = 0
    /// Commands of it that are in flight on a hub, for another answer.
    var relayed = 0
    /// RESET or QUIT waits for the end of its subscriptions.
    var isEnding = false
    /// Its next command is refused on a connection of the user who has its subscription: see
    /// `Gate`.
    var isAskedAsSubscriber = false
    /// The hub that its last command went over.
    var hub: HubRef?
    var isWaiting: Bool { !asks.isEmpty || relayed > 0 || isEnding }

    func asks(isSilent: Bool, bytes: Int) {
        asks.append((isSilent: isSilent, bytes: bytes))
        asked += bytes
    }

    /// Returns how many bytes were kept for it.
    func askAnswered() -> Int {
        let bytes = asks.removeFirst().bytes
        asked -= bytes
        // Most clients ask once and then listen: no memory is kept for the next one.
        if asks.isEmpty { asks = [] }
        return bytes
    }

    /// How many answers of hubs a client may wait for.
    static let mostAsks = 1024
}

extension ClientConnection {
    /// What it is to the subscriptions of its pool, which it leaves before its slot is free. If
    /// it did not, messages would not reach the next client in the slot.
    var subscriber: ClientRef { ClientRef(id.short) }

    /// Its subscriptions are on hubs, or it waits for one there.
    @inline(__always)
    var isSubscribing: Bool { subscribing != nil }

    /// It gets messages from a hub.
    var isListener: Bool { isSubscribing && pool.subscribers.anyName(of: self) != nil }

    /// How many subscriptions it has on hubs.
    var sharedSubscriptions: (channels: Int, patterns: Int, shards: Int) {
        isSubscribing ? pool.subscribers.count(self) : (channels: 0, patterns: 0, shards: 0)
    }

    /// A hub owes it an answer.
    var awaitsHub: Bool { subscribing?.isWaiting == true }

    /// Handles a command of such a client.
    func handleSubscribing(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, _ frame: CommandFrame, _ command: Command
    ) -> Int? {
        lastCommand = command
        let request = Request(command: command, frame: frame, input: UnsafeBufferPointer(buffer))
        return carryOutSubscribing(request) != .blocked ? frame.end : nil
    }

    func carryOutSubscribing(_ request: Request) -> Outcome {
        worker.turn.spend(Turn.special)
        if subscribing?.isEnding == true { return waitForReplies() }
        let command = request.command
        if pool.denyList.refuses(command) {
            return awaitsHub ? waitForReplies() : refuseCommand()
        }
        if let verb = SubscribeVerb(command), pool.primary.knows(verb),
            verb.isEnd || request.frame.argumentCount > 1
        {
            return ask(verb, request)
        }
        switch command {
        case .reset where request.frame.argumentCount == 1: return endSubscriptions(.reset)
        case .quit: return endSubscriptions(.quit)
        case .ping where key.protocolVersion == 2 && request.frame.argumentCount <= 2:
            guard let hub = pool.subscribers.anyName(of: self)?.hub else { break }
            return relay(request, over: hub)
        // With the hold of a command that the server refuses, as SSUBSCRIBE before Redis 7.0, its
        // place on the hub comes back.
        case .publish where isHeldForReply, .spublish where isHeldForReply: return waitForReplies()
        case .publish where isRelayedPublish(request), .spublish where isRelayedPublish(request):
            guard let hub = pool.subscribers.hub(forPublish: request, of: self) else { break }
            return relay(request, over: hub)
        default: break
        }
        if awaitsHub { return waitForReplies() }
        return key.protocolVersion == 2 ? enterGate(request) : carryOutElsewhere(request)
    }

    /// Carries out a command as that of any client.
    private func carryOutElsewhere(_ request: Request) -> Outcome {
        pool.isRouted ? carryOutRouted(request) : carryOutRare(request)
    }

    /// In RESP3 a client gets its own message before the reply to PUBLISH, or behind it, as the
    /// server has it. A CLIENT PAUSE would hold up all that is on the hub.
    private func isRelayedPublish(_ request: Request) -> Bool {
        key.protocolVersion == 3 && request.frame.argumentCount == 3 && !pool.isPaused
            && !isHolding
    }

    /// What is in flight on a connection of its own may end the hold.
    private var isHeldForReply: Bool {
        key.protocolVersion == 3 && isHolding && inFlight > 0 && !session.isSendingTransaction
    }

    // MARK: The SUBSCRIBE family

    /// Whether a SUBSCRIBE of a client without subscriptions goes to a hub.
    func mayShare(_ request: Request) -> Bool {
        guard pool.config.pubsub.isShared, !isHolding,
            SubscribeVerb(request.command).map({ pool.primary.knows($0) }) == true
        else { return false }
        guard pool.canShareSubscriptions else {
            pool.notePinnedSubscribers()
            return false
        }
        // It may be the target of a redirection, which is a connection of its own.
        return !CommandTable.words(request.input.span, request.frame).dropFirst()
            .contains { $0 == ClientConnection.invalidations }
    }

    /// SUBSCRIBE of a client that has no subscriptions, or more of one that has.
    func ask(_ verb: SubscribeVerb, _ request: Request) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if isHolding, session.isSendingTransaction {
            return refuse(
                "ERR '\(verb.word)' is refused by Redpool: in MULTI it cannot follow the "
                    + "subscriptions that are shared")
        }
        // In a cluster the server may name another node.
        guard mayGoOn, !(pool.isRouted && awaitsHub) else { return waitForReplies() }
        let names = Array(
            CommandTable.words(request.input.span, request.frame).dropFirst())
        guard let hub = pool.subscribers.hub(for: self, verb, names) else {
            replyError(ClusterWords.notServed)
            return .answered
        }
        begin(on: hub)
        let isSilent = session.takeSilence()
        subscribing?.asks(isSilent: isSilent, bytes: request.bytes.count)
        worker.countExtras(request.bytes.count)
        hub.keepUnsent(request.bytes, of: id, isSilent: isSilent)
        counted.commands &+= 1
        pool.traffic.commandsShared += 1
        pool.subscribers.ask(self, verb, names, on: hub)
        return .answered
    }

    /// Where a redirection's target gets invalidations (Redis 7.0 tracking.c).
    private static let invalidations = Array("__redis__:invalidate".utf8)

    /// It may send one more command over its hub.
    private var mayGoOn: Bool {
        if pool.isHalted { return false }
        guard let subscribing else { return true }
        return subscribing.asks.count + subscribing.relayed < Subscribing.mostAsks
            && subscribing.asked < ClientConnection.longestAsk && !isPausedByUpstream
    }

    private func begin(on hub: PushHub) {
        if subscribing == nil {
            subscribing = Subscribing()
            beginListening()
        }
        subscribing?.hub = hub.ref
        if let upstream = hub.upstream, upstream.isFull(for: self) { pause(.upstreamFull) }
    }

    /// It listened in a former program, and this hub is one that it is on.
    func listens(on hub: HubRef?) {
        subscribing = Subscribing()
        subscribing?.hub = hub
        beginListening()
    }

    /// RESET or QUIT: the answer comes behind the last message.
    private func endSubscriptions(_ end: SubscriptionEnd) -> Outcome {
        if inFlight > 0 || awaitsHub || pool.isHalted { return waitForReplies() }
        subscribing?.isEnding = true
        pool.subscribers.leave(self, end)
        return .answered
    }

    // MARK: Other commands on the hub

    /// Sends a command that is answered in the order of its messages.
    private func relay(_ request: Request, over hub: PushHub) -> Outcome {
        if inFlight > 0 || !mayGoOn { return waitForReplies() }
        // Behind what ends its last subscription the command is that of any client.
        if subscribing?.asks.isEmpty == false { return waitForReplies() }
        // What it waits for may be on another hub.
        if awaitsHub, pool.subscribers.hubs.count > 1 { return waitForReplies() }
        guard let upstream = hub.upstream else {
            // It is lost, and another one is tried.
            pool.subscribers.waitForHub(self)
            return waitForReplies()
        }
        subscribing?.relayed += 1
        if worker.table.mayWrite(request.command) { noteWrite(upstream) }
        pool.traffic.commandsShared += 1
        counted.commands &+= 1
        let correction =
            request.command == .ping
            ? nil : pool.book?.correction(of: request, at: hub.server.node.address)
        upstream.sendRelayed(self, request.bytes, value: correction?.value ?? 0)
        begin(on: hub)
        return .answered
    }

    /// The reply to it has come.
    func relayed(_ reply: UnsafeRawBufferPointer, _ entry: InFlight) {
        guard isSubscribing, channel.isOpen else { return }
        subscribing?.relayed -= 1
        if !entry.isSilent {
            if entry.command == .ping, key.protocolVersion == 2 {
                receiveOwn(ClientConnection.restrictedPong(reply))
            } else if entry.value > 0 {
                receiveOwn(SubscriberCorrection(value: entry.value).apply(to: Array(reply)))
            } else {
                receive(alone: reply)
            }
        }
        hubAnswered()
    }

    /// A subscribed client of RESP2 gets PONG as an array (Redis 6.2 to 8.0, server.c,
    /// pingCommand).
    private static func restrictedPong(_ reply: UnsafeRawBufferPointer) -> [UInt8] {
        switch reply.first {
        case UInt8(ascii: "+"): Array("*2\r\n$4\r\npong\r\n$0\r\n\r\n".utf8)
        case UInt8(ascii: "$"): Array("*2\r\n$4\r\npong\r\n".utf8) + reply
        default: Array(reply)
        }
    }

    /// The hub was lost with a command of it in flight.
    func relayLost() {
        guard isSubscribing, channel.isOpen else { return }
        subscribing?.relayed -= 1
        upstreamLost()
    }

    // MARK: What the hub says

    /// Shows a confirmation.
    func confirm(_ verb: SubscribeVerb, _ name: [UInt8]?, _ count: Int) {
        var bytes: [UInt8] = []
        bytes.append(key.protocolVersion == 3 ? UInt8(ascii: ">") : UInt8(ascii: "*"))
        bytes.append(contentsOf: "3\r\n".utf8)
        Encode.bulk(verb.word.withUTF8Buffer { Array($0) }, into: &bytes)
        if let name {
            Encode.bulk(name, into: &bytes)
        } else {
            Encode.null(key.protocolVersion == 3 ? .resp3 : .resp2, into: &bytes)
        }
        Encode.integer(Int64(count), into: &bytes)
        receiveOwn(bytes)
    }

    private func receiveOwn(_ bytes: [UInt8]) { bytes.withUnsafeBytes { receive(alone: $0) } }

    /// The server has refused the oldest command.
    func refuseAsk(_ error: [UInt8]) {
        if subscribing?.asks.first?.isSilent == false { receiveOwn(error) }
    }

    /// As Valkey 8.0.0 and 8.0.1 word it, the only ones that refuse this.
    func refuseEnd(_ verb: SubscribeVerb) {
        refuseAsk(Array("-NOSUB '\(verb.word)' command executed not in subscribed mode\r\n".utf8))
    }

    /// The oldest command is answered.
    func askAnswered() {
        guard let subscribing, !subscribing.asks.isEmpty else { return }
        worker.countExtras(-subscribing.askAnswered())
        if !awaitsHub, !pool.subscribers.isListening(self) { endSubscribing() }
        hubAnswered()
    }

    private func hubAnswered() {
        guard channel.isOpen else { return }
        if !input.isEmpty || inputEnded || mode == .barrier || isLeaving { worker.ready(self) }
    }

    /// All its subscriptions are over, because of RESET or QUIT.
    func finish(_ end: SubscriptionEnd) {
        guard isSubscribing, channel.isOpen else { return }
        endSubscribing()
        switch end {
        case .reset: reset()
        case .quit:
            if !session.takeSilence() { reply("+OK\r\n") }
            closeAfterFlush(.client_closed)
        case .gone: break
        }
        hubAnswered()
    }

    /// It has no subscriptions on hubs any more.
    func endSubscribing() {
        dropSubscribing()
        endListening()
    }

    private func dropSubscribing() {
        worker.countExtras(-(subscribing?.asked ?? 0))
        subscribing = nil
    }

    /// The hub that its command has waited for cannot be: the server has no RESP3. The command goes
    /// back to the front of the input, and is planned again.
    func planAgain(_ ask: UnsentAsk) {
        guard channel.isOpen else { return }
        if case .closing = mode { return }
        putBack(ask.bytes, isSilent: ask.isSilent)
        pool.traffic.commandsShared -= 1
        worker.ready(self)
    }

    /// A command becomes again what the client has sent last.
    func putBack(_ command: [UInt8], isSilent: Bool) {
        scanner = CommandScanner()
        extras?.collectsAsk = false
        input.prepend(command, pool: worker.chunks)
        if isSilent, session.replyMode == .on {
            var skip: [UInt8] = []
            Encode.command(["CLIENT", "REPLY", "SKIP"].map { Array($0.utf8) }, into: &skip)
            input.prepend(skip, pool: worker.chunks)
        }
        counted.commands &-= 1
    }

    /// The client leaves.
    func leaveHubs() {
        guard isSubscribing else { return }
        dropSubscribing()
        pool.subscribers.leave(self, .gone)
    }
}

extension PoolFront {
    /// The most that may wait for a client, in bytes; a longer message reaches nobody.
    var longestMessage: Int { max(config.clientOutputLimit, ClientConnection.outputHighWater) }

    /// No server is known to lack RESP3, which hubs speak.
    var canShareSubscriptions: Bool { servers.allSatisfy { $0.facts.mayHaveNewProtocol } }
}

extension Server {
    /// Redis before 7.0 has no shard channels. It words its refusal with the name as the client has
    /// written it, so the command goes where others go.
    func knows(_ verb: SubscribeVerb) -> Bool { verb.kind != .shard || !facts.hasOldWords }
}

extension SubscribeVerb {
    init?(_ command: Command) {
        switch command {
        case .subscribe: self = .subscribe
        case .psubscribe: self = .psubscribe
        case .ssubscribe: self = .ssubscribe
        case .unsubscribe: self = .unsubscribe
        case .punsubscribe: self = .punsubscribe
        case .sunsubscribe: self = .sunsubscribe
        default: return nil
        }
    }
}
