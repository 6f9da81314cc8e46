// Hubs come and go.

extension Subscriptions {
    /// The hub has an upstream. First all that was subscribed is subscribed anew, then come the
    /// asks that have waited.
    package mutating func opened(_ hub: HubRef) {
        guard case .opening? = hubs[hub]?.state else { return }
        hubs[hub]!.state = .open
        subscribeAnew(hub)
        while sendOwn(hub) {}
        let waiting = hubs[hub]!.waiting
        hubs[hub]!.waiting = []
        for ask in waiting {
            issue(ask, on: hub)
        }
        setRestless(hub)
        settle()
    }

    private mutating func subscribeAnew(_ hub: HubRef) {
        var channels = Batch(.subscribe)
        var patterns = Batch(.psubscribe)
        var shards: [UInt16: Batch] = [:]
        for number in entries.numbers where isToReturn(number, hub) {
            entries[number].isSubscribedAnew = true
            let name = entries[number].name
            switch entries[number].kind {
            case .channel: add(name, number, to: &channels, on: hub)
            case .pattern: add(name, number, to: &patterns, on: hub)
            case .shard:
                add(
                    name, number, to: &shards[Batch.slot(name), default: Batch(.ssubscribe)],
                    on: hub)
            }
        }
        let bySlot = shards.sorted { $0.key < $1.key }.map { $0.value }
        for batch in [channels, patterns] + bySlot where !batch.names.isEmpty {
            hubs[hub]!.anew.append(batch.entries)
        }
    }

    /// The names of asks that are open come with them.
    private func isToReturn(_ number: Int, _ hub: HubRef) -> Bool {
        entries.has(number) && entries[number].hub == hub && entries[number].wanted > 0
            && !entries[number].listeners.isEmpty && !entries[number].isSubscribedAnew
    }

    private mutating func add(
        _ name: [UInt8], _ number: Int, to batch: inout Batch, on hub: HubRef
    ) {
        batch.add(name, number)
        guard batch.isFull else { return }
        hubs[hub]!.anew.append(batch.entries)
        batch = Batch(batch.verb)
    }

    /// The hub could not be opened: its open asks are answered with its error. A kept hub
    /// stays so until it is opened or given up.
    package mutating func failed(_ hub: HubRef) {
        guard case .opening(let isKept)? = hubs[hub]?.state else { return }
        failWaiting(hub)
        if !isKept || !isWanted(hub) { hubs[hub] = nil }
        settle()
    }

    /// A kept hub got no new upstream in time.
    package mutating func gaveUp(_ hub: HubRef) {
        guard hubs[hub]?.state == .opening(isKept: true) else { return }
        closeListeners(of: hub, .gaveUp)
        failWaiting(hub)
        hubs[hub] = nil
        settle()
    }

    private mutating func failWaiting(_ hub: HubRef) {
        let waiting = hubs[hub]!.waiting
        hubs[hub]!.waiting = []
        for ask in waiting {
            if case .leave = asks[ask].wish {
                addEndTargets(ask, on: hub)
                reached(ask, on: hub)
            } else {
                refuse(ask, on: hub)
            }
        }
    }

    /// The hub's upstream is lost. Its listeners are kept, or closed. Asks of clients that have
    /// nothing on it are sent once more. A hub that is not open yet fails instead.
    package mutating func lost(_ hub: HubRef, keep: Bool) {
        guard hubs[hub]?.state == .open else { return }
        removeActions(hub)
        var lost = Hub()
        lost.state = .opening(isKept: keep)
        lost.entries = hubs[hub]!.entries
        lost.isRestless = hubs[hub]!.isRestless
        let sends = hubs[hub]!.sends.takeAll()
        hubs[hub] = lost
        let numbers = entries.numbers.filter { entries.has($0) && entries[$0].hub == hub }
        for number in numbers {
            entries[number].forgetServer()
            // Before the hub is opened, maybe at another node.
            reportNothing(number)
        }
        for send in sends {
            guard case .ask(let ask) = send.purpose else { continue }
            if asks[ask].client == nil {
                close(place: ask)
            } else {
                withdraw(ask, from: hub)
                hubs[hub]!.waiting.append(ask)
            }
        }
        if !keep {
            closeListeners(of: hub, .lost)
            closeRepeated(hub)
        }
        for number in numbers where entries.has(number) { touch(number) }
        dropForgotten(hub)
        if hubs[hub]!.waiting.isEmpty, !isWanted(hub) {
            hubs[hub] = nil
        } else {
            actions.append(.open(hub))
        }
        settle()
    }

    /// A listener whose end is not answered on another hub may stay: the end may be refused.
    private func isWanted(_ hub: HubRef) -> Bool {
        entries.numbers.contains {
            entries.has($0) && entries[$0].hub == hub
                && (entries[$0].wanted > 0 || !entries[$0].listeners.isEmpty)
        }
    }

    /// An ask that has lost two hubs may be the reason.
    private mutating func closeRepeated(_ hub: HubRef) {
        for ask in hubs[hub]!.waiting {
            guard let client = asks[ask].client else { continue }
            if asks[ask].isRepeated {
                close(clients[client].ref, .lost)
            } else {
                asks[ask].isRepeated = true
            }
        }
    }

    private mutating func dropForgotten(_ hub: HubRef) {
        let waiting = hubs[hub]!.waiting
        hubs[hub]!.waiting = waiting.filter { asks[$0].client != nil }
        for ask in waiting where asks[ask].client == nil { close(place: ask) }
    }

    /// What was to be sent on an upstream that is lost.
    private mutating func removeActions(_ hub: HubRef) {
        actions.removeAll {
            if case .send(hub, _, _) = $0 { true } else { false }
        }
    }

    mutating func closeListeners(of hub: HubRef, _ loss: HubLoss) {
        for number in entries.numbers {
            guard entries.has(number), entries[number].hub == hub else { continue }
            for listener in entries[number].listeners { close(listener, loss) }
        }
    }

    mutating func close(_ client: ClientRef, _ loss: HubLoss) {
        guard let number = clients.find(client) else { return }
        forget(number)
        actions.append(.close(client, loss))
    }
}

extension Entry {
    /// The server of the lost upstream has forgotten the name.
    fileprivate mutating func forgetServer() {
        openSends = 0
        isSubscribed = false
        isStuck = false
        isUnwanted = false
        isSubscribedAnew = false
    }
}
