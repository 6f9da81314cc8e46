// The changes of a client's subscription and of its entry, which go together.

extension Subscriptions {
    private mutating func change(
        _ entry: Int, _ client: Int, _ row: Int, _ body: (inout Subscription) -> Void
    ) {
        let before = clients[client].subscriptions[row].isWanted
        body(&clients[client].subscriptions[row])
        let after = clients[client].subscriptions[row].isWanted
        if after, !before { entries[entry].wanted += 1 }
        if before, !after { entries[entry].wanted -= 1 }
    }

    /// An ask concerns the entry from now on.
    mutating func open(_ entry: Int, of client: Int, begins: Bool) {
        let row: Int
        if let known = clients[client].subscriptions.find(entry) {
            row = known
        } else {
            row = clients[client].subscriptions.add(entry)
            clients[client].use(entries[entry].hub, 1)
            clients[client].all[entries[entry].kind] += 1
            entries[entry].subscriptions += 1
            setStuck(entry, false)
        }
        change(entry, client, row) { $0.open(begins: begins) }
        entries[entry].openAsks += 1
        touch(entry)
    }

    /// The ask is answered, as far as it concerns the entry.
    mutating func close(_ entry: Int, of client: Int) {
        guard let row = clients[client].subscriptions.find(entry) else { return }
        change(entry, client, row) { $0.close() }
        entries[entry].openAsks -= 1
        removeIfOver(entry, client, row)
        touch(entry)
    }

    private mutating func removeIfOver(_ entry: Int, _ client: Int, _ row: Int) {
        let subscription = clients[client].subscriptions[row]
        guard subscription.openAsks == 0, !subscription.isTold else { return }
        clients[client].subscriptions.remove(row)
        clients[client].use(entries[entry].hub, -1)
        clients[client].all[entries[entry].kind] -= 1
        entries[entry].subscriptions -= 1
    }

    /// The client's SUBSCRIBE is confirmed: it gets what comes from here on. Where it has the name
    /// on another hub already, it stays there.
    mutating func listen(_ entry: Int, of client: Int) {
        guard let row = clients[client].subscriptions.find(entry),
            clients[client].subscriptions[row].standing == .awaited,
            !isTold(client, elsewhere: entry)
        else { return }
        let place = entries[entry].listeners.count
        entries[entry].listeners.appendTightly(clients[client].ref)
        change(entry, client, row) { $0.standing = .listening(at: place) }
        clients[client].subscriptions.tell(row)
        clients[client].told[entries[entry].kind] += 1
        listening += 1
        if place == 0 { listened[entries[entry].kind] += 1 }
    }

    private func isTold(_ client: Int, elsewhere entry: Int) -> Bool {
        guard clients[client].hubs.areSeveral else { return false }
        for hub in clients[client].hubs where hub != entries[entry].hub {
            guard
                let other = entries.find(hub, entries[entry].kind, entries[entry].name.span),
                let row = clients[client].subscriptions.find(other)
            else { continue }
            if clients[client].subscriptions[row].isTold { return true }
        }
        return false
    }

    /// The client gets no more messages of the entry, and is not told yet.
    mutating func cease(_ entry: Int, of client: Int) {
        guard let row = clients[client].subscriptions.find(entry),
            case .listening(let place) = clients[client].subscriptions[row].standing
        else { return }
        change(entry, client, row) { $0.standing = .ended }
        removeListener(entry, at: place)
        touch(entry)
    }

    /// The last listener takes the place.
    private mutating func removeListener(_ entry: Int, at place: Int) {
        let last = entries[entry].listeners.removeLast()
        if place < entries[entry].listeners.count {
            entries[entry].listeners[place] = last
            if let client = clients.find(last),
                let row = clients[client].subscriptions.find(entry)
            {
                clients[client].subscriptions[row].standing = .listening(at: place)
            }
        }
        listening -= 1
        guard entries[entry].listeners.isEmpty else { return }
        entries[entry].listeners = []
        listened[entries[entry].kind] -= 1
    }

    /// An end is answered, as far as it concerns the entry. True if it has ended the client's
    /// subscription, which the client is to be told.
    mutating func end(_ entry: Int, of client: Int) -> Bool {
        guard let row = clients[client].subscriptions.find(entry) else { return false }
        let isEnded = clients[client].subscriptions[row].standing == .ended
        if isEnded {
            change(entry, client, row) { $0.standing = .awaited }
            clients[client].told[entries[entry].kind] -= 1
        }
        close(entry, of: client)
        return isEnded
    }

    /// The server has ended the client's subscription by itself.
    mutating func cut(_ entry: Int, of client: Int) {
        cease(entry, of: client)
        guard let row = clients[client].subscriptions.find(entry) else { return }
        change(entry, client, row) { $0.standing = .awaited }
        clients[client].told[entries[entry].kind] -= 1
        removeIfOver(entry, client, row)
    }

    /// The client is gone.
    mutating func drop(_ entry: Int, of client: Int) {
        guard let row = clients[client].subscriptions.find(entry) else { return }
        let subscription = clients[client].subscriptions[row]
        if subscription.isWanted { entries[entry].wanted -= 1 }
        entries[entry].openAsks -= subscription.openAsks
        entries[entry].subscriptions -= 1
        clients[client].subscriptions.remove(row)
        if case .listening(let place) = subscription.standing {
            removeListener(entry, at: place)
        }
        touch(entry)
    }

    mutating func setStuck(_ entry: Int, _ isStuck: Bool) {
        guard entries[entry].isStuck != isStuck else { return }
        entries[entry].isStuck = isStuck
        hubs[entries[entry].hub]?.stuck += isStuck ? 1 : -1
    }
}
