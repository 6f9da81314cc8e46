// Which states of a connection the server has accepted: a client can move there without asking it.

import Pool

/// Keys of sub-pools that the server has accepted from some client of this worker. It is bounded: when
/// there are too many, all are forgotten, and the server is asked again.
struct KnownKeys {
    /// The state of a new connection. It is always known.
    private let warmKey: PoolKey
    private var accepted: Set<PoolKey> = []
    /// Databases that the server has let a user select, as keys of protocol 2.
    private var selected: Set<PoolKey> = []

    private static let most = 4096

    init(warmKey: PoolKey) { self.warmKey = warmKey }

    /// The server has put a connection into the state `key` at a client's request.
    mutating func accept(_ key: PoolKey) {
        if accepted.count >= KnownKeys.most { accepted.removeAll() }
        accepted.insert(key)
    }

    /// The server has carried out a SELECT. That a user is in a database proves no right to SELECT:
    /// it may have been selected before the login.
    mutating func select(_ key: PoolKey) {
        if selected.count >= KnownKeys.most { selected.removeAll() }
        selected.insert(KnownKeys.plain(key))
    }

    func isAccepted(_ key: PoolKey) -> Bool { key == warmKey || accepted.contains(key) }

    func maySelect(_ key: PoolKey) -> Bool {
        let plain = KnownKeys.plain(key)
        return plain == warmKey || selected.contains(plain)
    }

    /// Keeps what these users may have.
    mutating func keep(_ users: Set<UInt32>) {
        accepted = accepted.filter { users.contains($0.user) }
        selected = selected.filter { users.contains($0.user) }
    }

    /// Forgets what one user may have.
    mutating func forget(_ user: UInt32) {
        accepted = accepted.filter { $0.user != user }
        selected = selected.filter { $0.user != user }
    }

    /// A conversion was refused: nothing is taken for granted any more.
    mutating func forgetAll() {
        accepted.removeAll()
        selected.removeAll()
    }

    private static func plain(_ key: PoolKey) -> PoolKey {
        PoolKey(user: key.user, protocolVersion: 2, database: key.database)
    }
}
