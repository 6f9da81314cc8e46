// CLIENT KILL, which is about Redpool's clients: the server words the errors, the proxy kills.

import Pool
import Session

/// A CLIENT KILL that the server is judging.
struct KillOrder {
    let wanted: KillFilter
    /// The clients of other workers that are meant.
    var others: [Victim] = []

    /// What has to be known of a client to close it.
    struct Victim {
        let worker: Int
        let id: SlotID
        let serial: UInt64

        init(_ client: ClientSnapshot) {
            worker = client.worker
            id = client.id
            serial = client.serial
        }
    }

    init(_ wanted: KillFilter, among others: [ClientSnapshot], by killer: ClientConnection) {
        self.wanted = wanted
        self.others = victims(among: others, by: killer)
    }

    func victims(
        among clients: some Sequence<ClientSnapshot>, by killer: ClientConnection
    ) -> [Victim] {
        clients.filter { isMeant($0, by: killer) }.map { Victim($0) }
    }

    var isByAddress: Bool { wanted.isByAddress }

    /// True when `client` is meant, in an order that `killer` has given.
    func isMeant(_ client: ClientSnapshot, by killer: ClientConnection) -> Bool {
        guard wanted.isUnderstood else { return false }
        if wanted.skipsSelf, client.serial == killer.serial { return false }
        if let id = wanted.id, id != client.serialNumber { return false }
        if let address = wanted.address, address != Array(client.address.utf8) { return false }
        if let local = wanted.localAddress, local != Array(client.localAddress.utf8) {
            return false
        }
        if let user = wanted.user, user != client.user { return false }
        if let age = wanted.maximumAge, client.ageSeconds < age { return false }
        return wanted.type == nil || wanted.type == client.type
    }
}
