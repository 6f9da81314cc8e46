// The addresses of a server. They are looked up again in the background, and connections to
// addresses that the name no longer has are retired, all at once: the server behind the name has
// changed.

import Config
import EventLoop
import Pool
import Topology

/// The addresses of one pool's upstream. A numeric address or a path never changes. A name is
/// looked up when a connection is needed, every `dnsRefresh`, and after signs of a failover.
struct NameResolution {
    /// Nil while nobody has named the server.
    let upstream: UpstreamAddress?
    var refresh: Int64
    private let isName: Bool
    private var addresses: [SocketAddress] = []
    private var position = 0
    private var isResolving = false
    /// The server may have moved: dials wait for the next answer.
    private var isDoubted = false
    private var lastAsked: MonotonicTime?
    /// Dials that wait for the first answer of the resolver.
    private var waiting: [(UpstreamID, PoolKey)] = []
    /// Which addresses connections may stay at.
    private var known = AddressSet()

    init(_ upstream: UpstreamAddress?, refresh: Int64) {
        self.upstream = upstream
        self.refresh = refresh
        switch upstream {
        case nil: isName = false
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

    /// What is looked up, with its port.
    var place: String { upstream?.description ?? NameResolution.unknown }

    /// Stands for the address of a server that nobody has named yet.
    private static let unknown = "(unknown)"

    /// The address is known, or is being looked up.
    var isNamed: Bool { upstream != nil }

    /// What is looked up, for messages.
    var name: String {
        guard case .tcp(let host, _) = upstream else { return place }
        return host
    }

    /// The address for the next connect; nil while none is known.
    func next() -> SocketAddress? {
        isDoubted || addresses.isEmpty ? nil : addresses[position % addresses.count]
    }

    /// A connect has failed. The next one tries another address. When all have been tried, a name
    /// is looked up again.
    mutating func failed() {
        position += 1
        if isName, !addresses.isEmpty, position % addresses.count == 0 { addresses = [] }
    }

    /// The name is looked up before the next dial, and the answer alone decides which addresses are
    /// given up. Without an answer the addresses stay.
    mutating func doubt() {
        isDoubted = isName
        known.doubt()
    }

    /// A node behind the name seems to be lost. The name is looked up, and the answer alone decides
    /// which addresses are given up. Dials go on meanwhile.
    mutating func suspect(_ server: Server) {
        guard isName, !isResolving else { return }
        known.doubt()
        if let lastAsked, server.worker.now - lastAsked < NameResolution.leastInterval { return }
        resolve(server)
    }

    /// The least time between two look-ups because of losses, in nanoseconds.
    private static let leastInterval: Int64 = 1_000_000_000

    /// Ends the look-up for a server that is left: returns the dials that wait for the addresses.
    mutating func takeWaiting() -> [(UpstreamID, PoolKey)] {
        defer { waiting = [] }
        return waiting
    }

    /// Forgets a dial that waits for the addresses. False if it does not.
    mutating func forget(_ id: UpstreamID) -> Bool {
        guard let place = waiting.firstIndex(where: { $0.0 == id }) else { return false }
        waiting.remove(at: place)
        return true
    }

    /// Notes a dial that waits for the addresses.
    mutating func wait(_ id: UpstreamID, _ key: PoolKey) {
        waiting.append((id, key))
    }

    /// Asks the system's resolver on a thread of its own, because that may take seconds.
    mutating func resolve(_ server: Server) {
        guard isName, !isResolving, case .tcp(let host, let port) = upstream else { return }
        isResolving = true
        lastAsked = server.worker.now
        let mailbox = server.worker.mailbox
        let pool = server.pool.config.name
        let place = place
        let error = Threads.start(name: "resolver") {
            let answer = SocketAddress.resolve(host, port: port)
            mailbox.post(.resolved(pool: pool, name: place, answer))
        }
        if error != 0 {
            let problem = "cannot start a thread: \(System.errorText(error))"
            let answer = NameAnswer(addresses: [], problem: problem)
            mailbox.post(.resolved(pool: pool, name: place, answer))
        }
    }

    /// Takes the resolver's answer. An empty answer changes nothing. Returns the dials that have
    /// waited for it, which the caller carries out, because a dial reads this value; and the
    /// addresses that are given up.
    mutating func resolved(
        _ found: [SocketAddress]
    ) -> (dials: [(UpstreamID, PoolKey)], givenUp: Set<String>) {
        isResolving = false
        isDoubted = false
        var givenUp: Set<String> = []
        if !found.isEmpty {
            addresses = found
            givenUp = Set(known.take(found.compactMap(\.node)).givenUp.map(\.description))
        }
        defer { waiting = [] }
        return (waiting, givenUp)
    }

    /// Looks the name up again if that is due.
    mutating func tick(_ server: Server) {
        guard isName, refresh > 0, let lastAsked, server.worker.now - lastAsked >= refresh else {
            return
        }
        resolve(server)
    }
}

extension SocketAddress {
    /// The numeric address and the port; nil for a unix socket. Its text is `description`.
    var node: NodeAddress? {
        let text = description.utf8
        guard !isUnix, let colon = text.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        let host = text[..<colon].filter { $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: "]") }
        return NodeAddress(host: Array(host), port: port)
    }
}
