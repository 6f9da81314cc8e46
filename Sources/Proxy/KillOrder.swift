// CLIENT KILL, which is about Redpool's clients: the server words the errors, the proxy kills.

import Pool
import Session

/// A CLIENT KILL that the server is judging.
struct KillOrder {
    let wanted: KillFilter
    /// The clients of other workers, all of them.
    let others: [ClientSnapshot]

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
