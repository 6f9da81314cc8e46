// Whether the server lets scripts make replies up. Valkey 8.0 writes the CR LF in a script's error
// as it is, so that one script can give several replies, and the surplus ones answer others. The
// server is asked by one script of ours before a user's first.

import Config
import Logging
import Pool
import RESP
import Session

/// What is known of a server's replies to scripts, for one run of it.
struct ScriptTrust {
    enum Verdict {
        /// Nobody has asked.
        case unknown
        /// One script gives one reply.
        case clean
        /// A script may give several: it runs alone, with a fence behind it.
        case splits
    }

    private var verdict = Verdict.unknown
    /// Users whose question was refused, and when it may be put again.
    private var refusals: [UInt32: MonotonicTime] = [:]
    /// For how long a refusal counts as `splits`, in nanoseconds.
    static let patience: Int64 = 60_000_000_000
    /// The same where the question did not reach an answer.
    static let shortPatience: Int64 = 1_000_000_000
    private static let mostRefusals = 4096

    /// Users whom the server does not tell who it is: any connection of theirs may lead to another,
    /// so no verdict lasts.
    private var anonymous: Set<UInt32> = []
    /// The question that is on its way.
    var asking: Asking?

    /// One question of ours.
    struct Asking {
        /// Of whose scripts it is about.
        let user: UInt32
        /// The state of the connection that carries it.
        let key: PoolKey
        /// Its place in the queue for that connection; nil once it has it.
        var ticket: WaitTicket?
    }

    /// Clients whose scripts wait for the answer.
    var waiting: [SlotID] = []

    /// What holds for the scripts of a user, by its number.
    func verdict(for user: UInt32, now: MonotonicTime) -> Verdict {
        if !anonymous.isEmpty, anonymous.contains(user) { return .splits }
        guard verdict == .unknown, let until = refusals[user], now < until else { return verdict }
        return .splits
    }

    /// Whether the server has told a user who it is.
    mutating func note(_ user: UInt32, isAnonymous: Bool) {
        if isAnonymous { anonymous.insert(user) } else { anonymous.remove(user) }
    }

    /// The server has answered the question with one reply, or with more.
    mutating func learn(_ verdict: Verdict) {
        self.verdict = verdict
        refusals = [:]
    }

    /// There is no answer for a user: for a while that counts as `splits`.
    mutating func refused(_ user: UInt32, until: MonotonicTime) {
        if refusals.count >= ScriptTrust.mostRefusals { refusals = [:] }
        refusals[user] = until
    }

    /// Forgets all users but these.
    mutating func keep(_ users: Set<UInt32>) {
        anonymous.formIntersection(users)
        refusals = refusals.filter { users.contains($0.key) }
    }

    /// The server is another one now: only who waits is kept.
    mutating func forget() {
        verdict = .unknown
        refusals = [:]
    }

    /// An error with a CR LF in it: a server that writes it as it is gives two replies.
    static let question: [UInt8] = {
        var bytes: [UInt8] = []
        Encode.command(["EVAL", "error('redpool\\r\\n+redpool')", "0"], into: &bytes)
        return bytes
    }()
}

// MARK: - The question

extension Server {
    /// What holds for the scripts of a user here and now.
    func scriptVerdict(for user: UInt32) -> ScriptTrust.Verdict {
        if processes.areSeveral { return .splits }
        if !processes.unidentified.isEmpty, !replaceUnidentified() { return .splits }
        return scripts.verdict(for: user, now: worker.now)
    }

    /// Retires the connections of which nobody knows where they lead: new ones ask again. False when
    /// that was done less than a second ago, because the server may still be busy.
    private func replaceUnidentified() -> Bool {
        guard worker.now - processes.lastReplacement >= 1_000_000_000 else { return false }
        processes.lastReplacement = worker.now
        for id in processes.unidentified { self[id]?.retireWhenFree(.serverUnknown) }
        processes.unidentified = []
        return true
    }

    /// Who leases the connection for the question.
    static let scriptAsker = WaiterID(raw: .max)

    /// Has `client` look again when it is known whether scripts can make replies up.
    func askAboutScripts(for client: ClientConnection) {
        if !client.awaitsScripts {
            client.awaitsScripts = true
            scripts.waiting.append(client.id)
        }
        if scripts.asking != nil { return }
        // As a control command, because the last pin may be what runs a script.
        var key = client.controlKey
        // The answer is the server's, whoever asks.
        if fences[key.user] == .none { key = pool.warmKey }
        scripts.asking = ScriptTrust.Asking(user: client.key.user, key: key)
        switch machine.lease(.control, key: key, for: Server.scriptAsker, now: worker.now) {
        case .granted(let id): self[id]?.askAboutScripts()
        case .queued(let ticket): scripts.asking?.ticket = ticket
        case .refused: endScriptQuestion(patience: ScriptTrust.shortPatience)
        }
        noteWork()
    }

    /// The question is over, with an answer or, if there is a patience, without.
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
    /// One script of ours and a fence behind it, on a connection that nobody else has meanwhile.
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

    /// The first reply. An error that is not the script's own is a refusal.
    func noteScriptAnswer(_ facts: ReplyFacts) {
        guard facts.isError, scanner.head.starts(with: "ERR ") else { return }
        sole?.question = .answered
    }

    /// An error in the place of the fence proves nothing. If it is that this form of the fence is
    /// refused, the question is put again at once, with another.
    func forgetScriptAnswer() {
        if sole?.question == .answered { sole?.question = isRefusedForGood ? .again : .asked }
    }

    /// The fence has come back. True when that was the end of the question.
    func endsScriptQuestion() -> Bool {
        guard sole?.question != nil else { return false }
        if !isOfThisServer { sole?.question = .again }
        if sole?.question == .answered { server.scripts.learn(.clean) }
        finishScriptQuestion(patience: sole?.question == .asked ? ScriptTrust.patience : nil)
        return true
    }

    /// Something else has come in the place of the fence. True when it was behind our question.
    func findsSplitReply() -> Bool {
        guard sole?.question != nil else { return false }
        if isOfThisServer { server.scripts.learn(.splits) }
        worker.log.warning(
            "this server lets scripts make replies up: each script has a connection of its own",
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

/// Where our question about scripts stands on a connection.
enum ScriptQuestion {
    case asked
    /// The script has ended with its own error.
    case answered
    /// It has, but its fence was refused.
    case again
}
