// The subscriptions on hubs as a plain value, for a hand-over to another process.

/// Who listens to what while no ask is open.
package struct CarriedSubscriptions: Equatable, Sendable {
    /// A name that is subscribed on a hub.
    package struct Entry: Equatable, Sendable {
        package var hub: HubRef
        package var kind: SubscriptionKind
        package var name: [UInt8]
        /// Messages that have come.
        package var messages: UInt64

        package init(hub: HubRef, kind: SubscriptionKind, name: [UInt8], messages: UInt64) {
            self.hub = hub
            self.kind = kind
            self.name = name
            self.messages = messages
        }
    }

    /// A client and the entries that it listens to, by their positions.
    package struct Subscriber: Equatable, Sendable {
        package var client: ClientRef
        /// In the order in which it was told of them.
        package var entries: [UInt32]

        package init(client: ClientRef, entries: [UInt32]) {
            self.client = client
            self.entries = entries
        }
    }

    package var entries: [Entry] = []
    package var subscribers: [Subscriber] = []

    package init() {}

    package var isEmpty: Bool { entries.isEmpty && subscribers.isEmpty }

    /// The same with other names for clients and hubs.
    package func renamed(
        clients: (ClientRef) -> ClientRef, hubs: (HubRef) -> HubRef
    ) -> CarriedSubscriptions {
        var renamed = self
        for index in entries.indices { renamed.entries[index].hub = hubs(entries[index].hub) }
        for index in subscribers.indices {
            renamed.subscribers[index].client = clients(subscribers[index].client)
        }
        return renamed
    }
}

extension Subscriptions {
    /// Nothing is under way: all asks are answered, and all hubs are open.
    package var isCarriable: Bool {
        guard asks.count == 0, actions.isEmpty, unsettled.isEmpty else { return false }
        for hub in hubs.values {
            guard hub.state == .open, hub.sends.isEmpty, hub.waiting.isEmpty, hub.anew.isEmpty,
                hub.unwantedChannels.isEmpty, hub.unwantedPatterns.isEmpty,
                hub.unwantedShards.isEmpty
            else { return false }
        }
        return true
    }

    /// What is carried; nil while something is under way.
    package var carried: CarriedSubscriptions? {
        guard isCarriable else { return nil }
        var carried = CarriedSubscriptions()
        var positions: [Int: UInt32] = [:]
        for number in entries.numbers where entries.has(number) {
            let entry = entries[number]
            guard entry.isSubscribed else { return nil }
            positions[number] = UInt32(carried.entries.count)
            carried.entries.append(
                CarriedSubscriptions.Entry(
                    hub: entry.hub, kind: entry.kind, name: entry.name, messages: entry.messages))
        }
        for number in 0..<clients.end where clients.has(number) {
            let known = clients[number].subscriptions.entries.compactMap { positions[$0] }
            guard known.count == clients[number].subscriptions.count else { return nil }
            carried.subscribers.append(
                CarriedSubscriptions.Subscriber(client: clients[number].ref, entries: known))
        }
        return carried
    }

    /// Takes over what another process had, on hubs and for clients that are not known yet. The
    /// hubs are open. Clients listen at once: nobody is told anything. The shell carries out what
    /// follows: the server is asked once more to end what it has refused to end.
    package mutating func adopt(_ carried: CarriedSubscriptions) {
        var numbers: [Int] = []
        for entry in carried.entries {
            if hubs[entry.hub] == nil {
                var hub = Hub()
                hub.state = .open
                hubs[entry.hub] = hub
            }
            let number: Int
            if let known = entries.find(entry.hub, entry.kind, entry.name.span) {
                number = known
            } else {
                number = entries.add(entry.hub, entry.kind, entry.name)
                hubs[entry.hub]!.entries += 1
            }
            entries[number].isSubscribed = true
            entries[number].messages = entry.messages
            numbers.append(number)
        }
        for subscriber in carried.subscribers where clients.find(subscriber.client) == nil {
            let client = clients.add(subscriber.client)
            for position in subscriber.entries where Int(position) < numbers.count {
                let entry = numbers[Int(position)]
                open(entry, of: client, begins: true)
                listen(entry, of: client)
                close(entry, of: client)
            }
            unsettled.append(subscriber.client)
        }
        for number in numbers where entries.has(number) { touch(number) }
        settle()
    }
}
