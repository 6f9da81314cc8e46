// Where the upstream is: its addresses, looked up again in the background, and the retirement of
// connections to addresses that the name does not have any more.

import Config
import EventLoop
import Pool

/// The addresses of one pool's upstream. A number or a path never changes; a name is looked up when
/// a connection is needed, every `dnsRefresh`, and after signs of a failover.
struct NameResolution {
    private let upstream: UpstreamAddress
    private let refresh: Int64
    private let isName: Bool
    private var addresses: [SocketAddress] = []
    private var position = 0
    private var isResolving = false
    private var lastAsked: MonotonicTime?
    /// Dials that wait for the first answer.
    private var waiting: [(UpstreamID, PoolKey)] = []
    /// Connections to addresses that are gone, to be retired one with each tick.
    private var stale: [UpstreamID] = []

    /// An address must be missing from this many answers in a row before its connections go:
    /// records that take turns must not cost connections.
    private static let missesBeforeRetiring = 2

    init(_ upstream: UpstreamAddress, refresh: Int64) {
        self.upstream = upstream
        self.refresh = refresh
        switch upstream {
        case .unix(let path):
            isName = false
            if let address = SocketAddress(unixPath: path) { addresses = [address] }
        case .tcp(let host, let port):
            if let address = SocketAddress(numericHost: host, port: port) {
                isName = false
                addresses = [address]
            } else {
                isName = true
            }
        }
    }

    /// What is looked up, for people.
    var name: String {
        guard case .tcp(let host, _) = upstream else { return upstream.description }
        return host
    }

    /// The address for the next connect; nil while none is known.
    func next() -> SocketAddress? {
        addresses.isEmpty ? nil : addresses[position % addresses.count]
    }

    /// A connect has failed: the next one tries another address, and a name is looked up anew when
    /// all have been tried.
    mutating func failed() {
        position += 1
        if isName, !addresses.isEmpty, position % addresses.count == 0 { addresses = [] }
    }

    /// Notes a dial for when the addresses are known.
    mutating func wait(_ id: UpstreamID, _ key: PoolKey) {
        waiting.append((id, key))
    }

    /// Asks the system's resolver on a thread of its own: it may take seconds.
    mutating func resolve(_ server: Server) {
        guard isName, !isResolving, case .tcp(let host, let port) = upstream else { return }
        isResolving = true
        lastAsked = server.worker.now
        let mailbox = server.worker.mailbox
        let pool = server.pool.config.name
        let error = Threads.start(name: "resolver") {
            mailbox.post(.resolved(pool: pool, SocketAddress.resolve(host, port: port)))
        }
        if error != 0 {
            let problem = "cannot start a thread: \(System.errorText(error))"
            mailbox.post(.resolved(pool: pool, NameAnswer(addresses: [], problem: problem)))
        }
    }

    /// The resolver has answered; an empty answer changes nothing that is known. Returns the dials
    /// that have waited for it. They are the caller's to carry out: a dial looks at this value.
    mutating func resolved(
        _ found: [SocketAddress], connections: [UpstreamConnection]
    ) -> [(UpstreamID, PoolKey)] {
        isResolving = false
        if !found.isEmpty {
            addresses = found
            let current = Set(found.map(\.description))
            stale = []
            for connection in connections {
                connection.origin.misses =
                    current.contains(connection.origin.address) ? 0 : connection.origin.misses + 1
                if connection.origin.misses >= NameResolution.missesBeforeRetiring {
                    stale.append(connection.id)
                }
            }
        }
        let dials = waiting
        waiting = []
        return dials
    }

    /// Janitor work: the next look-up when it is due, and one stale connection less.
    mutating func tick(_ server: Server) {
        if let id = stale.popLast() {
            server[id]?.retireWhenFree(.addressChanged)
            server.noteWork()
        }
        guard isName, refresh > 0, let lastAsked, server.worker.now - lastAsked >= refresh else {
            return
        }
        resolve(server)
    }
}
