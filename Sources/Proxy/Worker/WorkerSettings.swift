// The settings that a worker is started with.

package import Config
package import EventLoop
package import Session

/// A bound listening socket for a worker.
package struct BoundListener: Sendable {
    /// The name of the pool whose clients connect here.
    package let pool: String
    package let descriptor: Int32
    package let address: ListenAddress
    /// The file of a unix listener.
    package let file: SocketFile?
    /// Its number among the listeners of the process. Clients have it.
    package var number: UInt16 = 0

    /// A socket that listens at `address`.
    package init(pool: String, descriptor: Int32, address: ListenAddress, file: SocketFile? = nil) {
        self.file = file
        self.pool = pool
        self.descriptor = descriptor
        self.address = address
    }
}

/// Everything that a worker needs. Immutable, so that it can cross threads.
package struct WorkerSettings: Sendable {
    package let config: Config
    package let table: CommandTable
    package let listeners: [BoundListener]
    /// The limit on client connections; computed from the descriptor limit if it is `auto`.
    package let maxClients: Int
    /// How many lines the log has lost since the start.
    package let lostLines: @Sendable () -> UInt64

    package init(
        config: Config, table: CommandTable, listeners: [BoundListener], maxClients: Int,
        lostLines: @escaping @Sendable () -> UInt64 = { 0 }
    ) {
        self.config = config
        self.table = table
        self.listeners = listeners
        self.maxClients = maxClients
        self.lostLines = lostLines
    }

    /// The same process with another configuration.
    package func replaced(
        _ config: Config, listeners: [BoundListener], maxClients: Int
    ) -> WorkerSettings {
        WorkerSettings(
            config: config, table: table, listeners: listeners, maxClients: maxClients,
            lostLines: lostLines)
    }

    /// The interval of TCP keepalive for this pool's clients, in nanoseconds.
    func keepalive(of pool: String) -> Int64 {
        config.pools.first { $0.name == pool }?.keepalive ?? 0
    }
}
