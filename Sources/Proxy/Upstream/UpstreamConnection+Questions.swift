// The questions about the server in a handshake, and what follows from the answers.

import Config
import Pool
import RESP
import Topology

extension UpstreamConnection {
    /// INFO is answered. Knowledge of another server process does not apply to this one.
    func learnWhoAnswers() {
        // While a long script runs, the server answers nothing.
        let isBusy = scanner.isError && scanner.head.starts(with: "BUSY ")
        defer { origin.epoch = isBusy ? nil : server.processes.epoch }
        let found = learned(from: .information)
        origin.runID = found.runID
        let isOnly = server.isUnmet
        if isBusy {
            server.processes.unidentified.append(id)
            guard isOnly else { return }
        } else {
            // Without a login no script runs anyway.
            server.scripts.note(key.user, isAnonymous: found.runID == nil && !isLoginMissing)
        }
        if let runID = found.runID, runID == server.facts.runID { return }
        // A client's own user may have no right to INFO.
        if found.runID == nil, !isOnly || key.user != 0 { return }
        server.forgetServer(found.runID)
        var facts = ServerFacts()
        facts.version = found.version
        facts.valkeyVersion = found.valkeyVersion
        facts.runID = found.runID
        // This connection, or failed ones before the first, have shown it already.
        if key.protocolVersion == 3 {
            facts.newProtocol = .spoken
        } else if server.facts.runID == nil {
            facts.newProtocol = server.facts.newProtocol
        }
        if !isOnly {
            if server.facts.runID != nil, let runID = found.runID {
                server.serverChanged(to: self, runID)
            }
            handshake.steps += Handshake.questions
        }
        learn(facts)
    }

    /// Sentinels have named this server as the primary. It has to say so itself before it gets a
    /// command. Nil if it does. Also nil for a connection whose user, of a client or not logged in,
    /// may not ask: those of the configured user have shown it.
    func judgeRole() -> String? {
        switch ServerRole(incoming.collected) {
        case .primary: return nil
        case .other:
            server.tell(.wrongRole)
            return "ROLE: \(server.place) is no primary"
        case nil where scanner.isError && (key.user != 0 || isLoginMissing): return nil
        case nil: return refusal()
        }
    }

    /// Sentinels have named this server as a replica, and it has to say so itself. As in
    /// `judgeRole`, a user who may not ask is believed: INFO, which the configured user asks, shows
    /// it before anything is read.
    func judgeReplicaRole() -> String? {
        switch ServerRole(incoming.collected) {
        case .primary: return "ROLE: \(server.place) is no replica"
        case .other: break
        case nil where scanner.isError && (key.user != 0 || isLoginMissing): break
        case nil: return refusal()
        }
        origin.isReadOnly = true
        return nil
    }

    func learn(_ facts: ServerFacts) {
        let wasPrimary = server.facts.role == .primary
        server.learn(facts)
        if wasPrimary, facts.role == .other { server.failoverSign(.wrongRole) }
        // What this connection itself has shown is about the new process.
        if let form = handshake.form { server.fences.found(form, for: key.user, now: worker.now) }
    }

    /// Adds the collected reply to what is known of the server. A refusal adds nothing.
    func learned(from step: Handshake.Step) -> ServerFacts {
        var facts = server.facts
        switch step {
        case .information:
            facts.version = ServerFacts.field("redis_version", in: incoming.collected)
            facts.valkeyVersion = ServerFacts.field("valkey_version", in: incoming.collected)
            facts.runID = ServerFacts.field("run_id", in: incoming.collected)
            if let mode = ServerFacts.field("redis_mode", in: incoming.collected),
                Word(mode) == "cluster"
            {
                server.noteClusterNode()
            }
        case .timeout:
            server.looks.asked(now: worker.now)
            if scanner.isError { break }
            facts.timeoutSeconds = ServerFacts.configValue(in: incoming.collected)
        case .outputLimit:
            if scanner.isError { break }
            facts.outputLimit = ServerFacts.outputLimit(in: incoming.collected)
        case .transactions:
            if scanner.isError { break }
            facts.hasTransactions = ServerFacts.knowsBoth(incoming.collected)
        case .role: if let role = ServerRole(incoming.collected) { facts.role = role }
        case .clientLine:
            facts.clientLine = String(
                (ClientLine.text(of: incoming.collected) ?? "").prefix { $0 != "\n" })
        default: break
        }
        return facts
    }
}
