// What is known of a client, as a value: commands about other clients work on these, because a
// client of another worker can only be heard of.

import EventLoop
import Pool
import Session

/// A client at one moment, with what CLIENT LIST shows of it and CLIENT KILL chooses by.
struct ClientSnapshot: Sendable {
    /// Where it lives.
    let worker: Int
    let id: SlotID
    /// The id that the client sees.
    let serial: UInt64
    /// The same as a number of the protocol, which has a sign.
    var serialNumber: Int64 { Int64(clamping: serial) }
    let address: String
    let localAddress: String
    let user: [UInt8]
    let type: ClientType
    let ageSeconds: Int64
    /// The fields of its CLIENT LIST line that are its own; empty where nobody lists it.
    let values: [String: String]

    init(_ client: ClientConnection, isListed: Bool = true) {
        worker = client.worker.index
        id = client.id
        serial = client.serial
        values = isListed ? ClientLine.values(of: client) : [:]
        address = client.peerText
        localAddress = client.localText
        user = client.pool.users.name(of: client.key.user)
        type = client.type
        ageSeconds = client.ageSeconds
    }
}

extension ClientSnapshot {
    /// About how much memory it takes. Those who asked at the same time share most of it.
    var size: Int { values.reduce(ClientSnapshot.least) { $0 + $1.value.utf8.count } }

    static let least = 256
}

extension UpstreamPool {
    /// The clients of this pool on this worker.
    var clients: [ClientConnection] { worker.clients.all.filter { $0.pool === self } }
    var snapshots: [ClientSnapshot] { clients.map { ClientSnapshot($0) } }

    /// The client of this pool with an id, if it is on this worker.
    func client(serial: UInt64?) -> ClientConnection? {
        worker.clients.all.first { $0.serial == serial && $0.pool === self }
    }
}
