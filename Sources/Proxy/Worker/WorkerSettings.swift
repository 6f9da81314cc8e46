// What a worker is started with, and what it counts.

package import Config
package import EventLoop
package import Session

/// A bound listening socket, ready to be handed to a worker.
package struct BoundListener: Sendable {
    /// The name of the pool whose clients connect here.
    package let pool: String
    package let descriptor: Int32
    package let address: ListenAddress
    /// What a unix listener has made.
    package let file: SocketFile?

    /// A socket that listens at `address`.
    package init(pool: String, descriptor: Int32, address: ListenAddress, file: SocketFile? = nil) {
        self.file = file
        self.pool = pool
        self.descriptor = descriptor
        self.address = address
    }
}

/// Everything a worker needs to know; immutable, so that it can cross threads.
package struct WorkerSettings: Sendable {
    package let config: Config
    package let table: CommandTable
    package let listeners: [BoundListener]
    /// The limit of client connections, computed from the descriptor limit where it was `auto`.
    package let maxClients: Int

    package init(
        config: Config, table: CommandTable, listeners: [BoundListener], maxClients: Int
    ) {
        self.config = config
        self.table = table
        self.listeners = listeners
        self.maxClients = maxClients
    }

    /// How often a client's connection of this pool is probed by TCP, in nanoseconds.
    func keepalive(of pool: String) -> Int64 {
        config.pools.first { $0.name == pool }?.keepalive ?? 0
    }
}
