// The texts for clients and operators about refused leases and lost connections.

import Config
import Logging
import Pool

extension Server {
    /// The error reply for a refused lease. The refusal is logged.
    func refusalText(_ refusal: Refusal) -> String {
        let text = errorText(refusal)
        if refusal == .draining {
            pool.countRefused(.draining, text)
        } else {
            pool.warnRefused(refusal.word, text)
        }
        return text
    }

    /// The error reply for a refused lease: error word, pool, numbers, last cause.
    func errorText(_ refusal: Refusal) -> String {
        let census = use
        let name = "pool \(pool.config.name)"
        let use = "\(census.open)/\(pool.config.maxOpen) open"
        let cause = failures.dial.isEmpty ? "" : ", last error: \(failures.dial)"
        let wait = "\(pool.config.poolTimeout / 1_000_000)ms"
        switch refusal {
        case .poolTimeout:
            return "POOLTIMEOUT \(name): no free connection within \(wait)"
                + " (\(use), \(census.pinned) pinned, \(census.waiting) waiting)"
        case .queueFull:
            return "POOLTIMEOUT \(name): the wait queue is full"
                + " (\(use), \(census.waiting) waiting)"
        case .pinLimit where pool.config.maxPinned == 0:
            return "PINLIMIT \(name): maxPinned is 0, no client can have a connection of its own"
        case .pinLimit:
            return
                "PINLIMIT \(name): \(census.pinned) of \(pool.config.maxPinned) connections "
                + "are pinned (\(use), waited \(wait))"
        case .upstreamDown where !names.isNamed && !failures.dial.isEmpty:
            return "UPSTREAMDOWN \(name): \(failures.dial)"
        case .upstreamDown:
            return "UPSTREAMDOWN \(name): cannot connect to \(place)\(cause)"
        case .draining:
            return "UPSTREAMDOWN \(name): Redpool is shutting down"
        }
    }

    /// The server has refused connections in the state `key`: the clients that wait for one get its
    /// error.
    func refuse(_ key: PoolKey, _ text: String) {
        if let asking = scripts.asking, asking.ticket != nil, asking.key == key {
            endScriptQuestion(patience: ScriptTrust.shortPatience)
        }
        if unblocking.ticket != nil, unblocking.key == key { unblockFailed(text) }
        for client in worker.clients.all where client.server === self {
            guard case .waiting(let wait) = client.mode, wait.wanted.key == key else {
                continue
            }
            // Otherwise it is granted one already.
            if machine.cancel(wait.ticket) { client.refused(text) }
        }
    }

    /// The error reply for a command whose connection was lost before its reply.
    func lossText(_ reason: CloseReason) -> String {
        "UPSTREAMLOST pool \(pool.config.name): the connection to \(place) "
            + "was lost before the reply (\(reason.word)); the command may or may not have run"
    }

    /// The server is a node of a cluster. If the pool does not follow the cluster, that is logged,
    /// once for all workers: clients get MOVED.
    func noteClusterNode() {
        guard !pool.isRouted, pool.group.isFirstClusterNode() else { return }
        worker.log.notice(
            "upstream is a node of a cluster: use cluster",
            metadata: [
                "event": "upstream.cluster_node", "pool": "\(pool.config.name)",
                "address": "\(place)",
            ])
    }

    /// The server does not accept this form of the fence from this user. The first time that a
    /// user has no form left is logged, once for all workers.
    func fenceRefused(_ form: FenceForm, to user: UInt32) {
        fences.refused(form, to: user, now: worker.now)
        guard fences[user] == .none, pool.group.isFirstWithoutFence() else { return }
        let name = String(decoding: pool.users.name(of: user), as: UTF8.self)
        let text =
            "\(place) lets user \(name) send neither ECHO nor PING with an "
            + "argument: replies out of step on a shared connection will not be detected"
        worker.log.warning(
            "\(text)",
            metadata: ["event": "upstream.no_fence", "pool": "\(pool.config.name)"])
    }
}
