// Asks of clients: where their places are, what is sent for them, and their ends.

extension Subscriptions {
    mutating func add(_ wish: Ask.Wish, of client: ClientRef, on hub: HubRef) {
        let number = clients.find(client) ?? clients.add(client)
        clients[number].addAsk(asks.add(Ask(client: number, wish: wish, hub: hub)))
        startAsks(of: number)
        settle()
    }

    /// Goes on with clients whose asks have been answered, and forgets those that have nothing.
    mutating func settle() {
        while let client = unsettled.popLast() {
            guard let number = clients.find(client) else { continue }
            startAsks(of: number)
            if clients[number].isOver { clients.remove(number) }
        }
    }

    /// Starts the client's next asks.
    private mutating func startAsks(of client: Int) {
        while let ask = clients[client].nextAsk() {
            let targets = endTargets(asks[ask].wish, of: client)
            let places = places(asks[ask], targets)
            guard clients[client].start(at: places) else { return }
            start(ask, at: places)
        }
    }

    /// What an end is to end: every subscription that is there, or is asked for.
    private func endTargets(_ wish: Ask.Wish, of client: Int) -> [Ask.Target] {
        switch wish {
        case .begin: return []
        case .end(let verb, let names):
            var targets: [Ask.Target] = []
            for (index, name) in names.enumerated() {
                for hub in clients[client].hubs {
                    guard let entry = entries.find(hub, verb.kind, name.span),
                        clients[client].subscriptions.find(entry) != nil
                    else { continue }
                    targets.append(Ask.Target(entry: entry, name: index))
                }
            }
            return targets
        case .endAll(let verb):
            // Else such commands would be slow for a client with many others.
            if clients[client].all[verb.kind] == 0 { return [] }
            return clients[client].subscriptions.entries
                .filter { entries[$0].kind == verb.kind }
                .map { Ask.Target(entry: $0, name: 0) }
        case .leave:
            return clients[client].subscriptions.entries.map { Ask.Target(entry: $0, name: 0) }
        }
    }

    /// The hubs on which an ask gets a place: none for RESET and QUIT of a client that has nothing.
    private func places(_ ask: Ask, _ targets: [Ask.Target]) -> [HubRef] {
        var places: [HubRef] = []
        for target in targets {
            let hub = entries[target.entry].hub
            if places.last != hub, !places.contains(hub) { places.append(hub) }
        }
        guard places.isEmpty else { return places }
        if case .leave = ask.wish { return [] }
        return [ask.hub]
    }

    /// The ask gets a place on each of these hubs.
    mutating func start(_ ask: Int, at places: [HubRef]) {
        for place in places where hubs[place] == nil { makeHub(place) }
        asks[ask].openPlaces = places.count
        for place in places {
            if hubs[place]!.state == .open {
                issue(ask, on: place)
            } else {
                hubs[place]!.waiting.append(ask)
            }
        }
        if places.isEmpty { finish(ask) }
    }

    /// Ends that are spread over hubs may still have entries on this one from before.
    private mutating func makeHub(_ ref: HubRef) {
        var hub = Hub()
        hub.entries = entries.numbers.count { entries.has($0) && entries[$0].hub == ref }
        hubs[ref] = hub
        actions.append(.open(ref))
    }

    /// Sends what the ask needs on the hub: a begin as it is, but for names that are confirmed; an
    /// end as the names that nobody wants, or as a fence. Only now it counts for what is wanted:
    /// an ask that is sent before it must not unsubscribe what its client still listens to.
    mutating func issue(_ ask: Int, on hub: HubRef) {
        guard let client = asks[ask].client else { return close(place: ask) }
        switch asks[ask].wish {
        case .begin(let verb, let names): issueBegin(ask, of: client, verb, names)
        case .end(let verb, let names):
            addEndTargets(ask, on: hub)
            issueEnd(ask, on: hub, verb, names)
        case .endAll(let verb):
            addEndTargets(ask, on: hub)
            issueEndAll(ask, on: hub, verb)
        case .leave:
            addEndTargets(ask, on: hub)
            // Its place is that of the first command, whatever kind that ends: the server carries
            // it out as a whole. What nobody wants then is unsubscribed behind it.
            let verb = firstUnwanted(of: ask, on: hub).map { entries[$0].kind.end } ?? .unsubscribe
            issueEndAll(ask, on: hub, verb)
        }
    }

    private mutating func issueBegin(
        _ ask: Int, of client: Int, _ verb: SubscribeVerb, _ names: [[UInt8]]
    ) {
        let hub = asks[ask].hub
        let first = asks[ask].confirmed
        var numbers: [UInt32] = []
        numbers.reserveCapacity(names.count - first)
        for index in first..<names.count {
            let name = names[index]
            let entry: Int
            if let known = entries.find(hub, verb.kind, name.span) {
                entry = known
            } else {
                entry = entries.add(hub, verb.kind, name)
                hubs[hub]!.entries += 1
            }
            open(entry, of: client, begins: true)
            asks[ask].targets.append(Ask.Target(entry: entry, name: index))
            numbers.append(UInt32(entry))
        }
        let rest = first == 0 ? names : Array(names[first...])
        send(verb, rest, numbers, on: hub, for: .ask(ask))
    }

    mutating func addEndTargets(_ ask: Int, on hub: HubRef) {
        guard let client = asks[ask].client else { return }
        let targets = endTargets(asks[ask].wish, of: client)
        for target in targets where entries[target.entry].hub == hub {
            open(target.entry, of: client, begins: false)
            asks[ask].targets.append(target)
        }
    }

    /// The hub is lost: the ask does not count until it is sent again.
    mutating func withdraw(_ ask: Int, from hub: HubRef) {
        guard let client = asks[ask].client else { return }
        let targets = asks[ask].targets
        let isHere = targets.map { entries[$0.entry].hub == hub }
        asks[ask].targets = zip(targets, isHere).filter { !$0.1 }.map { $0.0 }
        for (target, isHere) in zip(targets, isHere) where isHere {
            closeTarget(target, of: ask, client)
        }
    }

    /// Of a begin some names may be confirmed.
    private mutating func closeTarget(_ target: Ask.Target, of ask: Int, _ client: Int) {
        if case .begin = asks[ask].wish, target.name < asks[ask].confirmed { return }
        close(target.entry, of: client)
    }

    private func isUnwanted(_ entry: Int, on hub: HubRef) -> Bool {
        entries[entry].hub == hub && entries[entry].wanted == 0 && entries[entry].willBeSubscribed
    }

    private func firstUnwanted(of ask: Int, on hub: HubRef) -> Int? {
        asks[ask].targets.first { isUnwanted($0.entry, on: hub) }?.entry
    }

    private mutating func issueEnd(
        _ ask: Int, on hub: HubRef, _ verb: SubscribeVerb, _ names: [[UInt8]]
    ) {
        var batch = Batch(verb)
        if asks[ask].targets.isEmpty {
            // The client has none of them anywhere: those go as they are that nobody else has.
            for name in names {
                let entry = entries.find(hub, verb.kind, name.span)
                if let entry, entries[entry].wanted > 0 { continue }
                batch.add(name, entry)
            }
        } else {
            for target in asks[ask].targets where isUnwanted(target.entry, on: hub) {
                // The rest is unsubscribed behind it.
                guard batch.isFit(names[target.name]) else { continue }
                batch.add(names[target.name], target.entry)
            }
        }
        let near = asks[ask].targets.first { entries[$0.entry].hub == hub }
        send(batch, on: hub, for: ask, near: near.map { names[$0.name] } ?? names.first)
    }

    private mutating func issueEndAll(_ ask: Int, on hub: HubRef, _ verb: SubscribeVerb) {
        var batch = Batch(verb)
        for target in asks[ask].targets where isUnwanted(target.entry, on: hub) {
            guard entries[target.entry].kind == verb.kind else { continue }
            guard !batch.isFull else { break }
            guard batch.isFit(entries[target.entry].name) else { continue }
            batch.add(entries[target.entry].name, target.entry)
        }
        let near = asks[ask].targets.first { entries[$0.entry].hub == hub }
        send(batch, on: hub, for: ask, near: near.map { entries[$0.entry].name })
    }

    private mutating func send(
        _ batch: Batch, on hub: HubRef, for ask: Int, near: [UInt8]?
    ) {
        guard batch.names.isEmpty else {
            return send(batch.verb, batch.names, batch.entries, on: hub, for: .ask(ask))
        }
        // A node of a cluster answers for its own slots only.
        let verb = batch.verb == .sunsubscribe && near == nil ? .unsubscribe : batch.verb
        let name = fence(verb.kind, near ?? [], on: hub)
        send(verb, [name], [Send.noEntry], on: hub, for: .ask(ask))
    }

    /// A name that nobody has subscribed to on the hub; for shard channels one in the slot of
    /// `near`.
    private mutating func fence(
        _ kind: SubscriptionKind, _ near: [UInt8], on hub: HubRef
    ) -> [UInt8] {
        var number: UInt32 = 0
        let slot = Batch.slot(near)
        if kind == .shard { number = fences.number(in: slot) }
        while true {
            let name = FenceNames.name(number)
            let isFit = kind != .shard || Batch.slot(name) == slot
            if isFit, entries.find(hub, kind, name.span) == nil { return name }
            number += 1
        }
    }
}

// MARK: - Ends

extension Subscriptions {
    /// One of the ask's places is behind the hub's stream. When all are, its client is told.
    mutating func reached(_ ask: Int, on hub: HubRef) {
        if let client = asks[ask].client {
            for target in asks[ask].targets where entries[target.entry].hub == hub {
                cease(target.entry, of: client)
            }
        }
        close(place: ask)
    }

    /// One place less; the last one ends the ask.
    mutating func close(place ask: Int) {
        asks[ask].openPlaces -= 1
        guard asks[ask].openPlaces == 0 else { return }
        if asks[ask].client == nil {
            asks.remove(ask)
        } else {
            finish(ask)
        }
    }

    /// Tells the client of the ends, with its counts, and goes on with its next ask.
    private mutating func finish(_ number: Int) {
        let ask = asks[number]
        guard let client = ask.client else { return }
        switch ask.wish {
        case .begin: break
        case .end(let verb, let names): finishEnd(ask, client, verb, names)
        case .endAll(let verb): finishEndAll(ask, client, verb)
        case .leave(let end):
            for target in ask.targets { _ = self.end(target.entry, of: client) }
            actions.append(.finish(clients[client].ref, end))
        }
        answered(number, of: client)
    }

    private mutating func finishEnd(
        _ ask: Ask, _ client: Int, _ verb: SubscribeVerb, _ names: [[UInt8]]
    ) {
        let isRefused = ask.isRefused || refusesEnd(of: client, verb)
        // Those of several hubs were added hub by hub.
        let targets = ask.targets.sorted { $0.name < $1.name }
        var next = 0
        for (index, name) in names.enumerated() {
            while next < targets.count, targets[next].name == index {
                _ = end(targets[next].entry, of: client)
                next += 1
            }
            if !isRefused { confirm(client, verb, name) }
        }
    }

    /// In the order in which the client was told of them, which may have changed since it asked.
    private mutating func finishEndAll(_ ask: Ask, _ client: Int, _ verb: SubscribeVerb) {
        let isRefused = ask.isRefused || refusesEnd(of: client, verb)
        let ended = clients[client].subscriptions.endedEntries
        for entry in ended {
            let name = entries[entry].name
            _ = end(entry, of: client)
            if !isRefused { confirm(client, verb, name) }
        }
        if ended.isEmpty, !isRefused { confirm(client, verb, nil) }
        let all = Set(ended)
        for target in ask.targets where !all.contains(target.entry) {
            close(target.entry, of: client)
        }
    }

    /// The client has none of any kind any more: some servers refuse its end then.
    private mutating func refusesEnd(of client: Int, _ verb: SubscribeVerb) -> Bool {
        guard refusesEndsOfNothing, clients[client].told.sum == 0 else { return false }
        actions.append(.refuseEnd(clients[client].ref, verb))
        return true
    }

    private mutating func answered(_ number: Int, of client: Int) {
        if case .leave = asks[number].wish {
        } else {
            actions.append(.answered(clients[client].ref))
        }
        asks.remove(number)
        clients[client].endAsk()
        unsettled.append(clients[client].ref)
    }

    /// The hub's error answers the ask, on all places if it has several.
    mutating func refuse(_ ask: Int, on hub: HubRef) {
        guard let client = asks[ask].client else { return close(place: ask) }
        if case .leave = asks[ask].wish { return close(place: ask) }
        if asks[ask].confirmed > 0 {
            // Names were confirmed before a loss: no error fits behind them.
            close(clients[client].ref, .refused)
            return close(place: ask)
        }
        if !asks[ask].isRefused {
            actions.append(.relayError(clients[client].ref, of: hub))
        }
        asks[ask].isRefused = true
        if case .begin = asks[ask].wish {
            for target in asks[ask].targets { closeTarget(target, of: ask, client) }
        }
        close(place: ask)
    }

    mutating func confirm(_ client: Int, _ verb: SubscribeVerb, _ name: [UInt8]?) {
        let count = clients[client].told.shown(verb.kind)
        actions.append(.confirm(clients[client].ref, verb, name: name, count: count))
    }

    /// The client's connection is over: nothing of it is left but what is under way on hubs.
    mutating func forget(_ client: Int) {
        for ask in clients[client].takeAsks() {
            if asks[ask].openPlaces > 0 {
                asks[ask].client = nil
            } else {
                asks.remove(ask)
            }
        }
        for entry in clients[client].subscriptions.entries { drop(entry, of: client) }
        clients.remove(client)
    }
}
