// Carries out what a reply means (`Meaning`): for its client, for this connection, and for what the
// pool knows of the server.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// What a complete reply changes in the state of this connection and of its client.
    func takeNote(_ entry: InFlight) {
        let facts = ReplyFacts(scanner)
        heldReplied(to: entry.expectation, facts, value: entry.value)
        let meaning = Meaning(
            entry.expectation, value: entry.value, facts, isBelieved: isBelieved)
        if case .nothing = meaning { return }
        let client = worker.clients[entry.client]
        let own = client?.upstream === self ? client : nil
        own?.take(meaning, over: id)
        switch meaning {
        case .login(let verdict):
            judge(own?.takeLogin(), verdict, own, isHello: entry.expectation == .helloChange)
        case .beforeLogin(let isServed):
            settleStranger(isQuoting: entry.value == 1)
            if isServed { pool.noteDefault(needsLogin: false) }
        case .subcommandUnknown:
            if let own, teachesPool { pool.unknownCommands.learn(own.askedName, .stranger) }
        default: carryOut(meaning, entry.expectation)
        }
    }

    /// Carries out what a reply, or an element of EXEC's array, means for this connection and for
    /// the pool.
    func carryOut(_ meaning: Meaning, _ expectation: Expectation) {
        var newKey = key
        switch meaning {
        case .identity(isAccepted: true):
            // The next client with sole use must not find another client's name.
            identity.taint(expectation)
        case .database(let database):
            newKey.database = database
            if teachesPool { pool.knownKeys.select(newKey) }
            move(to: newKey)
        case .protocolVersion(let version):
            newKey.protocolVersion = version
            // On a connection in sole use it counts even if its client has left.
            if !isShared { move(to: newKey) }
        case .subcommandQueued: queuedSubcommand()
        case .strangerRan:
            // What the command did here is not known.
            pool.unknownCommands = UnknownCommands()
            retireWhenFree(.notUnderstood)
        case .moduleGone: pool.unknownCommands = UnknownCommands()
        case .scriptAnswer: noteScriptAnswer()
        case .ran(let pause, _): if pause != 0 { pool.disprovePause(pause) }
        case .pauseBegun(let length): notePause(length)
        case .pauseEnded: notePause(nil)
        case .blockOpen:
            // Commands of other clients would be queued into the transaction.
            spoil(.dirty)
            server.machine.retire(id, .dirty, now: worker.now)
            server.noteWork()
        default: break
        }
    }

    /// A reply that has been read as a whole. Redpool reads it, changes it, or both.
    func finishCollected(_ entry: InFlight, _ reply: [UInt8]) {
        takeNote(entry)
        let client = worker.clients[entry.client]
        let facts = ReplyFacts(scanner)
        let isGood = !facts.isError && !facts.isQueued
        switch entry.expectation {
        case .commandInfo:
            finishHead()
            if isShared { countFinished(1) }
            guard isOfThisServer else {
                // It is asked again, over a connection to the present server.
                client?.endQuestion()
                return
            }
            client?.learnedCommand(reply, isLockedOut: facts.error == .noLogin)
        case .lockQuestion:
            if facts.isError { noteOwn(UpstreamConnection.ping, isRefused: true) }
            settleStranger(isQuoting: false)
            finishHead()
            if isShared { countFinished(1) }
            guard origin.departure == nil else {
                client?.endQuestion()
                return
            }
            client?.learnedLock(reply, isLocked: facts.error == .noLogin)
        case .confirmation:
            finishHead()
            guard isShared else {
                if let client, client.upstream === self { client.confirmedAlone(reply, from: self) }
                break
            }
            countFinished(1)
            if let client, client.uses(self) {
                client.confirmed(reply, at: entry.value, from: self)
            }
        case .identify:
            finishHead()
            identified(reply)
        case .replication:
            finishHead()
            if isShared { countFinished(1) }
            server.replicationAnswered(reply, to: entry.value, from: self)
        case .unblocking:
            finishHead()
            unblockReplied(reply, to: entry.value)
        case .recalled: takeRecalled(entry, reply)
        case .reset:
            finishHead()
            if let client, client.upstream === self {
                client.answeredReset()
            } else {
                cleanOrphan()
            }
        case .published:
            deliver(entry, SubscriberCorrection(value: entry.value).apply(to: reply))
        case .subscriberNumbers, .shardNumbers:
            let kind = entry.expectation == .shardNumbers ? SubscriptionKind.shard : .channel
            let found = pool.book?.corrected(reply, kind, at: .one(server.node.address))
            deliver(entry, isGood ? found ?? reply : reply)
        case .rewriteList, .kill: judged(entry, reply, isGood: isGood)
        case .hello, .helloChange:
            if facts.error == .noLogin, entry.expectation == .hello { noteHelloRefused() }
            deliver(entry, isGood ? HelloReply.replacingID(reply, client) : reply)
        default:
            deliver(entry, isGood ? client?.ownValue(entry.expectation, reply) ?? reply : reply)
            worker.boundOutput()
        }
    }
}

extension ClientConnection {
    /// A reply to this client means this.
    func take(_ meaning: Meaning, over upstream: UpstreamID) {
        release(session.take(meaning, over: upstream))
        if case .monitorRefused = meaning, self.upstream?.hold?.isMonitoring != true {
            monitorFilter = nil
        }
        if case .identity = meaning { countKept() }
    }
}
