// What is sent on a connection before any client's command: credentials, protocol, database, and
// questions about the server. Each step is validated before the next, because no command may run
// behind a step that has failed.

import Config
import Pool
import RESP
import Session

extension UpstreamConnection {
    func beginHandshake() {
        var steps: [Handshake.Step] = []
        server.fences.forget(key.user, olderThan: server.looks.interval, now: worker.now)
        // The client may have selected its database as another user; its present user may have no
        // right to SELECT.
        let selectsEarly = key.user != 0 && key.database != 0
        if selectsEarly {
            if pool.config.password != nil { steps.append(.authenticate(user: 0)) }
            steps.append(.select(key.database))
        }
        if key.protocolVersion == 3 {
            steps.append(.hello(3))
        } else if hasCredentials {
            steps.append(.authenticate(user: key.user))
        }
        // A reply to HELLO or AUTH proves as much. ECHO of a user without the right to it would
        // appear in the server's ACL LOG.
        if steps.isEmpty || (key.user == 0 && !server.fences.isKnown(to: 0)) {
            steps.append(.fence(server.fences[key.user]))
        }
        addRole(to: &steps)
        if key.database != 0, !selectsEarly { steps.append(.select(key.database)) }
        addQuestions(to: &steps)
        start(Handshake(purpose: .dial, steps: steps, selectsEarly: selectsEarly))
    }

    /// A former program had it idle: it is logged in, and in the state of its key. Who answers has
    /// to be known all the same before a command is sent.
    func takeOver() {
        var steps = [Handshake.Step.fence(server.fences[key.user])]
        addRole(to: &steps)
        addQuestions(to: &steps)
        setDeadline(after: pool.config.connectTimeout)
        start(Handshake(purpose: .takeOver, steps: steps))
    }

    private func addRole(to steps: inout [Handshake.Step]) {
        if pool.config.sentinels != nil { steps.append(server.isReplica ? .replica : .primary) }
    }

    private func addQuestions(to steps: inout [Handshake.Step]) {
        // INFO is sent each time, because an address can lead to another server at any time.
        steps.append(.information)
        if server.isUnmet {
            steps += Handshake.questions
        } else if server.looks.isTimeoutDoubtful, key.user == 0 {
            steps += Handshake.changing
        }
        if server.isReplica, pool.isRouted { steps.append(.readOnly) }
    }

    /// The server's default user needs no login, unless the configuration has one.
    private var hasCredentials: Bool { key.user != 0 || pool.config.password != nil }

    /// Changes an idle connection to the state of `newKey`.
    func convert(to newKey: PoolKey) {
        var steps: [Handshake.Step] = []
        if newKey.protocolVersion != key.protocolVersion {
            steps.append(.hello(newKey.protocolVersion))
        }
        if newKey.database != key.database { steps.append(.select(newKey.database)) }
        setDeadline(after: pool.config.connectTimeout)
        start(Handshake(purpose: .convert(newKey), steps: steps))
    }

    /// Sets a pinned client's name and library on the connection, where they differ. Calls
    /// `client.prepared` afterwards, or at once if nothing differs.
    func prepare(for client: ClientConnection) {
        let wanted = client.session.identity
        var steps: [Handshake.Step] = []
        if wanted.name != identity.name { steps.append(.setName(wanted.name)) }
        if wanted.libraryName != identity.libraryName {
            steps.append(.setLibrary("LIB-NAME", wanted.libraryName))
        }
        if wanted.libraryVersion != identity.libraryVersion {
            steps.append(.setLibrary("LIB-VER", wanted.libraryVersion))
        }
        if steps.isEmpty {
            client.prepared(self)
            return
        }
        identity = wanted
        setDeadline(after: pool.config.connectTimeout)
        start(Handshake(purpose: .prepare(client), steps: steps))
    }

    /// Asks an idle connection again what may have changed on the server.
    func lookAgain() {
        setDeadline(after: pool.config.connectTimeout)
        start(Handshake(purpose: .lookAgain, steps: Handshake.changing))
    }

    private func start(_ new: Handshake) {
        output.forgetsSent = true
        handshake = new
        stage = .handshaking
        sendStep()
    }

    private func sendStep() {
        guard let step = handshake.current else {
            finishHandshake()
            return
        }
        var words: [[UInt8]]
        switch step {
        case .authenticate(let user):
            words = [Array("AUTH".utf8)]
            // AUTH of a server without ACLs has a password only.
            if user != 0 || !pool.config.username.isEmpty {
                words.append(pool.users.name(of: user))
            }
            words.append(pool.users.password(of: user))
        case .hello(let version):
            words = [Array("HELLO".utf8), Array(String(version).utf8)]
            if handshake.isFirst, hasCredentials {
                words += [
                    Array("AUTH".utf8), pool.users.name(of: key.user),
                    pool.users.password(of: key.user),
                ]
            }
        case .select(let database):
            words = [Array("SELECT".utf8), Array(String(database).utf8)]
        case .fence(.none): words = [Array("PING".utf8)]
        case .fence(let form):
            handshake.sent = []
            sendFirstFence(form)
            return
        case .information: words = [Array("INFO".utf8), Array("server".utf8)]
        case .timeout:
            words = [Array("CONFIG".utf8), Array("GET".utf8), Array("timeout".utf8)]
        case .outputLimit:
            words = ["CONFIG", "GET", "client-output-buffer-limit"].map { Array($0.utf8) }
        case .transactions:
            words = ["COMMAND", "INFO", "multi", "exec"].map { Array($0.utf8) }
        case .role, .primary, .replica: words = [Array("ROLE".utf8)]
        case .clientLine: words = [Array("CLIENT".utf8), Array("INFO".utf8)]
        case .readOnly: words = [Array("READONLY".utf8)]
        case .setName(let name): words = [Array("CLIENT".utf8), Array("SETNAME".utf8), name]
        case .setLibrary(let what, let value):
            words = [Array("CLIENT".utf8), Array("SETINFO".utf8), Array("\(what)".utf8), value]
        }
        var bytes: [UInt8] = []
        Encode.command(words, into: &bytes)
        if case .authenticate = step {
            // MONITOR does not show AUTH.
            handshake.sent = []
            sendOwn(bytes)
            Secret.wipe(&bytes)
        } else {
            handshake.sent = bytes
            sendOwn(bytes)
        }
    }

    func receiveHandshake(_ bytes: UnsafeRawPointer, _ count: Int) {
        let buffer = UnsafeBufferPointer(
            start: bytes.assumingMemoryBound(to: UInt8.self), count: count)
        if !scanner.isInside, isStrayInHandshake(buffer[0]) {
            loseToStray()
            return
        }
        switch scanner.scan(buffer.span, from: 0) {
        case .incomplete:
            incoming.collected.append(
                contentsOf: buffer.prefix(Handshake.longestAnswer - incoming.collected.count))
            if !mayBeFence(UnsafeRawBufferPointer(buffer)) {
                handshakeFailed(wrongAnswer)
            } else if incoming.collected.count == Handshake.longestAnswer {
                // A reply without its end must not be read as an error.
                scanner = ReplyScanner()
                handshakeFailed("the answer to \(handshake.currentName) does not end")
            }
        case .invalid(let error):
            let isAlert = isAlert(buffer[0])
            handshakeFailed(
                isAlert
                    ? UpstreamConnection.speaksTLS : "not a Redis server? \(error.message)")
        case .complete(let end):
            incoming.collected.append(contentsOf: buffer[..<min(end, Handshake.longestAnswer)])
            if end < count, isStrayInHandshake(buffer[end]) {
                loseToStray()
            } else if end < count {
                // What the reply says does not matter then.
                scanner = ReplyScanner()
                handshakeFailed("the server sent more than the answer to \(handshake.currentName)")
            } else if let problem = judgeStep(UnsafeRawBufferPointer(buffer)),
                !(scanner.isError && handshake.postponeSelect())
            {
                handshakeFailed(problem)
            } else {
                incoming.collected = []
                handshake.index += 1
                sendStep()
            }
        }
    }

    /// Nil if the reply is good for the current step, else the problem. `tail` has the last bytes
    /// of the reply.
    private func judgeStep(_ tail: UnsafeRawBufferPointer) -> String? {
        guard let step = handshake.current else { return "an answer that nobody asked for" }
        guard !scanner.isPush, mayBeFence(tail) else { return wrongAnswer }
        switch step {
        case .authenticate, .select, .setName, .setLibrary:
            return scanner.head.matches("OK") && !scanner.isError ? nil : refusal()
        case .hello(let version):
            noteDefault()
            if scanner.isError { return refusal() }
            if version == 3 { server.facts.newProtocol = .spoken }
            return nil
        case .fence(let form):
            noteDefault()
            return judgeFence(form)
        case .information:
            learnWhoAnswers()
            return nil
        case .readOnly:
            origin.isReadOnly = scanner.head.matches("OK") && !scanner.isError
            return origin.isReadOnly ? nil : refusal()
        case .primary: return judgeRole()
        case .replica: return judgeReplicaRole()
        case .timeout, .outputLimit, .transactions, .role, .clientLine:
            learn(learned(from: step))
            return nil
        }
    }

    /// Records whether the server requires a login. Only a new connection shows it: what the server
    /// decided for an older one stays, even if the requirement has changed.
    private func noteDefault() {
        guard handshake.isFirst, key.user == 0 else { return }
        origin.lacksLogin = isLoginMissing
        if !origin.lacksLogin { pool.users.openSince = max(pool.users.openSince, origin.dialledAt) }
        pool.noteDefault(needsLogin: isLoginMissing)
    }

    var isLoginMissing: Bool { scanner.isError && scanner.head.starts(with: "NOAUTH") }

    func refusal() -> String { "\(handshake.currentName): \(refusedWith)" }

    var refusedWith: String { UpstreamConnection.errorText(of: incoming.collected) }

    /// The text of an error reply.
    static func errorText(of reply: [UInt8]) -> String {
        let line = reply.dropFirst().prefix { $0 != 13 && $0 != 10 }.prefix(200)
        return String(decoding: line, as: UTF8.self)
    }

    /// A script runs, so the server refuses SELECT like almost everything else.
    private var isBusy: Bool {
        guard case .select = handshake.current else { return false }
        return scanner.isError && scanner.head.starts(with: "BUSY ")
    }

    /// The server refuses the user or database of a client. That says nothing about the server,
    /// unlike a refusal of the configured user or of connections in general.
    private var isRefusalOfClient: Bool {
        guard scanner.isError else { return false }
        if key.user == 0 { return isRefusalOfState && key != pool.warmKey }
        if case .authenticate(user: 0) = handshake.current { return false }
        return !scanner.head.starts(with: "ERR max") && !scanner.head.starts(with: "DENIED")
    }

    /// The server refuses a client's state to the default or configured user. For example, the
    /// client needs a login, has lost the right to SELECT, or wants RESP3.
    private var isRefusalOfState: Bool {
        if isLoginMissing { return pool.config.password == nil }
        if scanner.head.starts(with: "NOPERM") || scanner.head.starts(with: "NOPROTO") {
            return true
        }
        if scanner.head.starts(with: "ERR max") { return false }
        switch handshake.current {
        case .select: return scanner.head.starts(with: "ERR")
        case .hello: return scanner.head.starts(with: "ERR unknown comm")
        default: return false
        }
    }

    /// The server has no HELLO, whoever sends it.
    private var isRefusalOfProtocol: Bool {
        guard case .hello(3) = handshake.current, scanner.isError else { return false }
        return scanner.head.starts(with: "ERR unknown comm")
            || scanner.head.starts(with: "NOPROTO")
    }

    /// This user has no right to the command of the current step.
    private var isForbidden: Bool { scanner.isError && scanner.head.starts(with: "NOPERM") }

    private var isLogin: Bool {
        switch handshake.current {
        case .authenticate(let user): user == key.user
        case .hello: true
        default: false
        }
    }

    /// The server is busy and refuses SELECT. Clients that wait for this database get the server's
    /// error, and the connection is used in the state that it has.
    private func stayWhereItIs(_ busy: String) {
        let purpose = handshake.purpose
        var wanted = key
        if case .convert(let newKey) = purpose { wanted = newKey }
        // The protocol is set before the database, and a new connection is in database 0.
        key.database = handshake.isFirst ? 0 : key.database
        key.protocolVersion = wanted.protocolVersion
        becomeReady()
        server.refuse(wanted, busy)
        if case .convert = purpose {
            server.machine.converted(id, as: key, now: worker.now)
            server.noteWork()
        } else {
            server.connected(self, as: key)
        }
    }

    private func handshakeFailed(_ text: String) {
        let line = refusedWith
        incoming.collected = []
        let lacksProtocol = isRefusalOfProtocol
        if lacksProtocol { server.facts.newProtocol = .refused }
        switch handshake.purpose {
        case .dial where isBusy, .convert where isBusy:
            stayWhereItIs(line)
        case .dial where isRefusalOfClient:
            let isLogin = isLogin && !lacksProtocol
            destroy()
            server.stateRefused(id, key, isLogin: isLogin && key.user != 0, text)
        case .dial:
            fail(.handshakeFailed, text)
        case .convert(let newKey):
            if lacksProtocol {
                pool.subscriberDesk?.stateRefused(newKey, by: server, isLogin: false)
            }
            pool.warnLimit(
                "upstream.conversion_failed", reason: CloseReason.conversionFailed.word,
                "cannot change the state of a connection to \(server.place): \(text)")
            server.conversionRefused(to: key.user, isForbidden: isForbidden)
            lose(.conversionFailed)
        case .prepare:
            lose(.conversionFailed)
        case .lookAgain, .takeOver:
            lose(.pingFailed)
        }
    }

    private func becomeReady() {
        stage = .ready
        output.forgetsSent = false
        scanner = ReplyScanner()
        clearDeadline()
        fence = nil
        if fenceDue == .max { deferFence() }
        handshake = Handshake()
    }

    private func finishHandshake() {
        let purpose = handshake.purpose
        becomeReady()
        trace("upstream.ready")
        switch purpose {
        case .dial:
            keepSession()
            startGauge()
            server.connected(self)
            leaveWrongServer()
        case .convert(let newKey):
            key = newKey
            server.machine.converted(id, now: worker.now)
            server.noteWork()
        case .prepare(let client):
            client.prepared(self)
        case .lookAgain:
            probed()
        case .takeOver:
            startGauge()
            server.noteAnswered()
            probed()
            leaveWrongServer()
        }
    }

    private func leaveWrongServer() {
        if origin.epoch != nil, !isOfThisServer { retireWhenFree(.serverChanged) }
        if origin.isReadOnly != server.isReplica { leaveRole() }
    }
}
