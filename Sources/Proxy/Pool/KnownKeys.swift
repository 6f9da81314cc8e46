// The connection states that the server has accepted. A client can move to them without asking it.

import Pool

/// Keys of sub-pools that the server has accepted from some client of this worker. The set is
/// bounded: when it is full, all keys are dropped, and the server is asked again.
struct KnownKeys {
    /// The state of a new connection. It is always known.
    private let warmKey: PoolKey
    private var accepted: Set<PoolKey> = []
    /// Databases that the server has let a user SELECT, as keys of protocol 2.
    private var selected: Set<PoolKey> = []

    private static let most = 4096

    init(warmKey: PoolKey) { self.warmKey = warmKey }

    /// The server has put a connection into the state `key` for a client.
    mutating func accept(_ key: PoolKey) {
        if accepted.count >= KnownKeys.most { accepted.removeAll() }
        accepted.insert(key)
    }

    /// The server has carried out a SELECT. A user in a database does not prove the right to
    /// SELECT: the database may have been selected before the login.
    mutating func select(_ key: PoolKey) {
        if selected.count >= KnownKeys.most { selected.removeAll() }
        selected.insert(KnownKeys.plain(key))
    }

    func isAccepted(_ key: PoolKey) -> Bool { key == warmKey || accepted.contains(key) }

    func maySelect(_ key: PoolKey) -> Bool {
        let plain = KnownKeys.plain(key)
        return plain == warmKey || selected.contains(plain)
    }

    /// Drops the keys of all other users.
    mutating func keep(_ users: Set<UInt32>) {
        accepted = accepted.filter { users.contains($0.user) }
        selected = selected.filter { users.contains($0.user) }
    }

    /// Drops the keys of one user.
    mutating func forget(_ user: UInt32) {
        accepted = accepted.filter { $0.user != user }
        selected = selected.filter { $0.user != user }
    }

    /// The server has refused a conversion: drops all keys, and the server is asked again.
    mutating func forgetAll() {
        accepted.removeAll()
        selected.removeAll()
    }

    private static func plain(_ key: PoolKey) -> PoolKey {
        PoolKey(user: key.user, protocolVersion: 2, database: key.database)
    }
}
