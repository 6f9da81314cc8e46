// The two connections to one Sentinel: in RESP2 one that is subscribed can ask nothing.

import Config
import EventLoop
import RESP
import Topology

/// Who has a `SentinelLink`.
protocol SentinelLinkOwner: AnyObject {
    /// Both connections are there, and every channel is subscribed to.
    func up(_ link: SentinelLink)
    /// The answer to `ask`.
    func answered(_ link: SentinelLink, _ answer: SentinelAnswer, errors: SentinelErrors)
    /// A message about the name.
    func told(_ link: SentinelLink, _ message: SentinelMessage)
    /// Both connections are closed.
    func failed(_ link: SentinelLink, _ text: String)
}

/// The errors among the answers of a round; nil if there are none. The last one is about replicas,
/// if the others were answered.
struct SentinelErrors {
    let first: String?
    let last: String?
}

/// A Sentinel that is subscribed to and can be asked. What it says that was not asked for, or that
/// is not understood, ends both connections.
final class SentinelLink: WatcherOwner {
    let id: SentinelID
    let address: NodeAddress
    private let name: [UInt8]
    private weak var owner: (any SentinelLinkOwner)?
    private var questions: Watcher?
    private var subscription: Watcher?
    private var unconfirmed = SentinelMessage.channels.count
    private var canAsk = false
    private var isUp = false
    /// The replies to the round that is under way.
    private var replies: [[UInt8]] = []
    private var awaited = 0
    private var awaitsPong = false

    init(_ id: SentinelID, _ address: NodeAddress, name: String, owner: any SentinelLinkOwner) {
        self.id = id
        self.address = address
        self.name = Array(name.utf8)
        self.owner = owner
    }

    /// Begins to connect. `host` is what certificates must have; nil for that of the address.
    func begin(host: String?, login: WatcherLogin, loop: EventLoop, names: NameLookup) {
        let made = (0..<2).map { _ in
            Watcher(address, host: host, login: login, loop: loop, names: names, owner: self)
        }
        (questions, subscription) = (made[0], made[1])
        for watcher in made { watcher.begin() }
    }

    /// Asks the questions of a round. PING on the other connection shows that messages would come.
    func ask(withReplicas: Bool) {
        guard isUp, awaited == 0, !awaitsPong else { return }
        let commands = SentinelAnswer.questions(about: name, withReplicas: withReplicas)
        replies = []
        awaited = commands.count
        awaitsPong = true
        questions?.send(commands)
        subscription?.send([[Array("PING".utf8)]])
    }

    /// Closes without a word to the owner.
    func close() {
        questions?.close()
        subscription?.close()
    }

    /// For messages: what has not come in time.
    var lateText: String {
        [questions, subscription].compactMap { $0 }.first { $0.stage != .ready }?.lateText
            ?? (isUp ? "no answer in time" : "no answer to SUBSCRIBE")
    }

    // MARK: WatcherOwner

    func ready(_ watcher: Watcher) {
        if watcher === questions {
            canAsk = true
            noteProgress()
        } else {
            watcher.send(SentinelMessage.subscriptions)
        }
    }

    func received(_ reply: [UInt8], from watcher: Watcher) {
        if watcher === questions {
            guard awaited > 0 else { return fail("a reply that nobody has asked for") }
            awaited -= 1
            replies.append(reply)
            finishRound()
        } else {
            takeMessage(reply)
        }
    }

    func failed(_ watcher: Watcher, _ text: String) { fail(text) }

    private func takeMessage(_ reply: [UInt8]) {
        switch SubscriptionReply(reply, about: name) {
        case .subscribed where unconfirmed > 0:
            unconfirmed -= 1
            noteProgress()
        case .message(let message):
            if isUp { owner?.told(self, message) }
        case .otherMessage: break
        case .pong where awaitsPong:
            awaitsPong = false
            finishRound()
        default:
            let error = WatcherText.error(in: reply)
            fail(error.map { "SUBSCRIBE: \($0)" } ?? "a message that is none")
        }
    }

    private func noteProgress() {
        guard canAsk, unconfirmed == 0, !isUp else { return }
        isUp = true
        owner?.up(self)
    }

    private func finishRound() {
        guard awaited == 0, !awaitsPong, !replies.isEmpty else { return }
        let answer = SentinelAnswer(replies: replies)
        let errors = replies.compactMap { WatcherText.error(in: $0) }
        replies = []
        owner?.answered(
            self, answer, errors: SentinelErrors(first: errors.first, last: errors.last))
    }

    private func fail(_ text: String) {
        close()
        owner?.failed(self, text)
    }
}

/// Who has a `RoleProbe`.
protocol RoleProbeOwner: AnyObject {
    /// The role, or why it is not known.
    func probed(_ probe: RoleProbe, _ result: Result<ServerRole, RoleProbe.Problem>)
}

/// Asks a server for its ROLE on a connection of its own.
final class RoleProbe: WatcherOwner {
    /// Why there is no role.
    struct Problem: Error {
        let text: String
        /// The server is there, and does not let Redpool ask.
        var isRefusal = false
    }

    let address: NodeAddress
    /// When it was begun, in nanoseconds.
    let began: Int64
    private weak var owner: (any RoleProbeOwner)?
    private var watcher: Watcher?

    init(_ address: NodeAddress, began: Int64, owner: any RoleProbeOwner) {
        self.address = address
        self.began = began
        self.owner = owner
    }

    /// Begins to connect.
    func begin(login: WatcherLogin, loop: EventLoop, names: NameLookup) {
        let made = Watcher(address, login: login, loop: loop, names: names, owner: self)
        watcher = made
        made.begin()
    }

    /// Closes without a word to the owner.
    func close() { watcher?.close() }

    func ready(_ watcher: Watcher) { watcher.send([[Array("ROLE".utf8)]]) }

    func received(_ reply: [UInt8], from watcher: Watcher) {
        watcher.close()
        if let role = ServerRole(reply) {
            owner?.probed(self, .success(role))
            return
        }
        let text = WatcherText.error(in: reply)
        let problem = Problem(
            text: "ROLE: \(text ?? "a reply that is none")",
            isRefusal: WatcherText.isRefusal(reply))
        owner?.probed(self, .failure(problem))
    }

    func failed(_ watcher: Watcher, _ text: String) {
        owner?.probed(self, .failure(Problem(text: text)))
    }
}
