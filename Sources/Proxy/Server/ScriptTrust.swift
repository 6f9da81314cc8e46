// Finds out whether scripts on this server can make up replies. Valkey 8.0 writes a CR LF in a
// script's error unchanged, so one script can bring several replies, and the surplus ones are taken
// for the replies to other commands. Before the first script of a user, Redpool asks the server
// with a script of its own.

import Config
import Logging
import Pool
import RESP
import Session

/// What is known about a server's replies to scripts. It holds for one run of the server.
struct ScriptTrust {
    enum Verdict {
        /// The server has not been asked.
        case unknown
        /// A script brings one reply.
        case clean
        /// A script may bring several replies. It runs alone, with a fence behind it.
        case splits
    }

    private var verdict = Verdict.unknown
    /// Users whose question was refused, and when it may be asked again.
    private var refusals: [UInt32: MonotonicTime] = [:]
    /// For how long a refusal counts as `splits`, in nanoseconds.
    static let patience: Int64 = 60_000_000_000
    /// The same if the question got no answer.
    static let shortPatience: Int64 = 1_000_000_000
    private static let mostRefusals = 4096

    /// Users to whom the server does not tell its `run_id`. Each of their connections may lead to
    /// another server, so no verdict lasts.
    private var anonymous: Set<UInt32> = []
    /// The question that is being asked.
    var asking: Asking?

    /// One question of Redpool's.
    struct Asking {
        /// The user whose scripts it is about.
        let user: UInt32
        /// The state of the connection that carries it.
        let key: PoolKey
        /// Its place in the wait queue; nil once it has the connection.
        var ticket: WaitTicket?
    }

    /// Clients whose scripts wait for the answer.
    var waiting: [SlotID] = []

    /// The verdict for a user's scripts.
    func verdict(for user: UInt32, now: MonotonicTime) -> Verdict {
        if !anonymous.isEmpty, anonymous.contains(user) { return .splits }
        guard verdict == .unknown, let until = refusals[user], now < until else { return verdict }
        return .splits
    }

    /// Notes whether the server has told a user its `run_id`.
    mutating func note(_ user: UInt32, isAnonymous: Bool) {
        if isAnonymous { anonymous.insert(user) } else { anonymous.remove(user) }
    }

    /// The server has answered the question, with one reply or with several.
    mutating func learn(_ verdict: Verdict) {
        self.verdict = verdict
        refusals = [:]
    }

    /// There is no answer for a user. Until then that counts as `splits`.
    mutating func refused(_ user: UInt32, until: MonotonicTime) {
        if refusals.count >= ScriptTrust.mostRefusals { refusals = [:] }
        refusals[user] = until
    }

    /// Drops all users except these.
    mutating func keep(_ users: Set<UInt32>) {
        anonymous.formIntersection(users)
        refusals = refusals.filter { users.contains($0.key) }
    }

    /// Another server answers now. Only the waiting clients are kept.
    mutating func forget() {
        verdict = .unknown
        refusals = [:]
    }

    /// An error with a CR LF in it. A server that writes it unchanged gives two replies.
    static let question: [UInt8] = {
        var bytes: [UInt8] = []
        Encode.command(["EVAL", "error('redpool\\r\\n+redpool')", "0"], into: &bytes)
        return bytes
    }()
}

// MARK: - The question

extension Server {
    /// The verdict for a user's scripts on this server.
    func scriptVerdict(for user: UInt32) -> ScriptTrust.Verdict {
        if processes.areSeveral { return .splits }
        if !processes.unidentified.isEmpty, !replaceUnidentified() { return .splits }
        return scripts.verdict(for: user, now: worker.now)
    }

    /// Retires the connections whose server is unknown; new ones ask again. False when that was
    /// done less than a second ago: the server may still be busy.
    private func replaceUnidentified() -> Bool {
        guard worker.now - processes.lastReplacement >= 1_000_000_000 else { return false }
        processes.lastReplacement = worker.now
        for id in processes.unidentified { self[id]?.retireWhenFree(.serverUnknown) }
        processes.unidentified = []
        return true
    }

    /// Resumes `client` when it is known whether scripts can make up replies.
    func askAboutScripts(for client: ClientConnection) {
        if !client.awaitsScripts {
            client.awaitsScripts = true
            scripts.waiting.append(client.id)
        }
        if scripts.asking != nil { return }
        // The lease is that of a control command: a script may be running on the last pin.
        var key = client.controlKey
        // The answer does not depend on the user.
        if fences[key.user] == .none { key = pool.warmKey }
        scripts.asking = ScriptTrust.Asking(user: client.key.user, key: key)
        switch machine.lease(.control, key: key, for: OwnWaiter.scripts.id, now: worker.now) {
        case .granted(let id): self[id]?.askAboutScripts()
        case .queued(let ticket): scripts.asking?.ticket = ticket
        case .refused: endScriptQuestion(patience: ScriptTrust.shortPatience)
        }
        noteWork()
    }

    /// Ends the question: answered, or, with `patience`, unanswered.
    func endScriptQuestion(patience: Int64? = nil) {
        if let asking = scripts.asking {
            if let patience { scripts.refused(asking.user, until: worker.now + patience) }
            if let ticket = asking.ticket { machine.cancel(ticket) }
        }
        scripts.asking = nil
        let waiting = scripts.waiting
        scripts.waiting = []
        for id in waiting {
            guard let client = worker.clients[id] else { continue }
            client.awaitsScripts = false
            worker.ready(client)
        }
    }
}

extension UpstreamConnection {
    /// Sends Redpool's script and a fence behind it. No other client uses the connection meanwhile.
    func askAboutScripts() {
        lendToQuestion()
        server.scripts.asking?.ticket = nil
        guard canFence else {
            finishScriptQuestion(patience: ScriptTrust.patience)
            return
        }
        setDeadline(after: pool.config.poolTimeout)
        expect(UpstreamConnection.nobody, .scriptQuestion, bytes: ScriptTrust.question.count)
        sendOwn(ScriptTrust.question)
        sendFence(for: UpstreamConnection.nobody)
    }

    /// The first reply. An error that does not come from the script itself is a refusal.
    func noteScriptAnswer() {
        guard scanner.isError, scanner.head.starts(with: "ERR ") else { return }
        sole?.question = .answered
    }

    /// An error in the place of the fence proves nothing. If the server refuses this form of the
    /// fence, the question is asked again at once with another form.
    func forgetScriptAnswer() {
        if sole?.question == .answered { sole?.question = isRefusedForGood ? .again : .asked }
    }

    /// The fence's reply has come. True when it ends the question.
    func endsScriptQuestion() -> Bool {
        guard sole?.question != nil else { return false }
        if !isOfThisServer { sole?.question = .again }
        if sole?.question == .answered { server.scripts.learn(.clean) }
        finishScriptQuestion(patience: sole?.question == .asked ? ScriptTrust.patience : nil)
        return true
    }

    /// Another reply has come in the place of the fence's. True when the fence was behind the
    /// question.
    func findsSplitReply() -> Bool {
        guard sole?.question != nil else { return false }
        if isOfThisServer { server.scripts.learn(.splits) }
        worker.log.warning(
            "scripts on this server can make up replies: each script runs on its own connection",
            metadata: ["event": "upstream.splits_replies", "pool": "\(pool.config.name)"])
        abandon()
        destroy()
        server.machine.lost(id, .dirty, now: worker.now)
        server.endScriptQuestion()
        server.noteWork()
        return true
    }

    private func finishScriptQuestion(patience: Int64?) {
        clearDeadline()
        takeBack()
        server.returned(self)
        server.endScriptQuestion(patience: patience)
    }
}

/// The state of the question about scripts on a connection.
enum ScriptQuestion {
    case asked
    /// The script has ended with its own error.
    case answered
    /// The same, but the fence was refused.
    case again
}
