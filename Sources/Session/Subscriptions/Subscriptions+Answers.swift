// The server's answers on a hub: confirmations, and errors in their stead.

extension Subscriptions {
    /// The server confirms a name, or null. A SUNSUBSCRIBE that nobody has asked for says that the
    /// slot has moved: it ends its listeners' subscriptions.
    package mutating func confirmed(
        _ hub: HubRef, _ verb: SubscribeVerb, _ name: Span<UInt8>?
    ) -> Confirmed {
        guard let name else { return .unasked }
        guard isExpected(hub, verb, name) else {
            if verb == .sunsubscribe { cutAll(hub, name) }
            settle()
            return .unasked
        }
        confirmNext(hub)
        let send = hubs[hub]!.sends.first
        guard send.confirmed == send.names.count else { return .within }
        _ = hubs[hub]!.sends.popFirst()
        if case .ask(let ask) = send.purpose {
            if send.verb.isEnd { reached(ask, on: hub) } else { close(place: ask) }
        }
        setRestless(hub)
        settle()
        return .ends
    }

    private func isExpected(_ hub: HubRef, _ verb: SubscribeVerb, _ name: Span<UInt8>) -> Bool {
        guard let known = hubs[hub], !known.sends.isEmpty else { return false }
        let send = known.sends.first
        guard send.verb == verb, send.confirmed < send.names.count else { return false }
        let next = send.names[send.confirmed]
        return isEqual(next.span, name)
    }

    /// The next name of the oldest command is confirmed.
    private mutating func confirmNext(_ hub: HubRef) {
        let index = hubs[hub]!.sends.first.confirmed
        hubs[hub]!.sends.first.confirmed += 1
        let send = hubs[hub]!.sends.first
        let number = send.entries[index]
        guard number != Send.noEntry else { return }
        let entry = Int(number)
        entries[entry].openSends -= 1
        entries[entry].isSubscribed = !send.verb.isEnd
        if case .ask(let ask) = send.purpose, !send.verb.isEnd {
            asks[ask].confirmed += 1
            if let client = asks[ask].client {
                listen(entry, of: client)
                confirm(client, send.verb, send.names[index])
                return close(entry, of: client)
            }
        }
        touch(entry)
    }

    private mutating func cutAll(_ hub: HubRef, _ name: Span<UInt8>) {
        guard let entry = entries.find(hub, .shard, name) else { return }
        let name = entries[entry].name
        let listeners = entries[entry].listeners
        // Its last listener's end would remove the entry.
        entries[entry].openSends += 1
        for listener in listeners {
            guard let client = clients.find(listener) else { continue }
            cut(entry, of: client)
            confirm(client, .sunsubscribe, name)
            unsettled.append(listener)
        }
        entries[entry].openSends -= 1
        entries[entry].isSubscribed = false
        setStuck(entry, false)
        touch(entry)
    }

    /// An error answers the oldest command on the hub.
    ///
    /// - Parameter hasNothing: it says that the connection has no subscriptions, as Valkey 8.0.0
    ///   and 8.0.1 do of an end (`-NOSUB`, src/pubsub.c).
    package mutating func refused(_ hub: HubRef, hasNothing: Bool = false) {
        guard let send = hubs[hub]?.sends.popFirst() else { return }
        if hasNothing { refusesEndsOfNothing = true }
        for number in send.entries[send.confirmed...] where number != Send.noEntry {
            entries[Int(number)].openSends -= 1
        }
        switch send.purpose {
        case .ask(let ask):
            if send.verb.isEnd {
                refusedEnd(ask, on: hub, isPlace: send.confirmed > 0 || hasNothing)
            } else {
                refuse(ask, on: hub)
            }
        case .unwanted: refusedUnwanted(send, on: hub)
        case .anew: refusedAnew(send, on: hub)
        }
        for number in send.entries where number != Send.noEntry && entries.has(Int(number)) {
            touch(Int(number))
        }
        setRestless(hub)
        settle()
    }

    /// RESET and QUIT do not fail: the error is their place as well. An end has nothing to be
    /// refused if the server has ended all of it meanwhile; what it said then was taken for a
    /// confirmation if the end has begun. That the hub has no subscriptions says nothing of the
    /// client: see `finish`.
    private mutating func refusedEnd(_ ask: Int, on hub: HubRef, isPlace: Bool) {
        guard let client = asks[ask].client else { return close(place: ask) }
        if isPlace { return reached(ask, on: hub) }
        if case .leave = asks[ask].wish { return reached(ask, on: hub) }
        let here = asks[ask].targets.filter { entries[$0.entry].hub == hub }
        let isAnyLeft = here.contains { target in
            clients[client].subscriptions.find(target.entry).map {
                clients[client].subscriptions[$0].isListening
            } ?? false
        }
        if here.isEmpty || isAnyLeft { refuse(ask, on: hub) } else { reached(ask, on: hub) }
    }

    /// The user may not unsubscribe. The names stay, until the hub is over or somebody wants them.
    private mutating func refusedUnwanted(_ send: Send, on hub: HubRef) {
        for number in send.entries[send.confirmed...] {
            let entry = Int(number)
            let isLeft = entries[entry].isSubscribed && entries[entry].subscriptions == 0
            if isLeft { setStuck(entry, true) }
        }
        if hubs[hub]!.stuck > Subscriptions.mostStuck { closeListeners(of: hub, .lost) }
    }

    /// Names that could not be unsubscribed take memory here and at the server. With more than
    /// these the hub is ended.
    static let mostStuck = 10_000

    /// Halves the command until the refused names are known; their listeners are closed.
    private mutating func refusedAnew(_ send: Send, on hub: HubRef) {
        guard send.entries.count > 1 else {
            guard let entry = send.entries.first.map({ Int($0) }) else { return }
            for listener in entries[entry].listeners { close(listener, .refused) }
            return
        }
        for number in send.entries { entries[Int(number)].isSubscribedAnew = true }
        let middle = send.entries.count / 2
        hubs[hub]!.anew.append(Array(send.entries[..<middle]))
        hubs[hub]!.anew.append(Array(send.entries[middle...]))
    }
}
