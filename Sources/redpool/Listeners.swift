// Binds all listeners before anything else starts, and computes the limit on clients from that on
// descriptors.

import Config
import EventLoop
import Glibc
import HandOver
import Proxy
import Topology

enum Listeners {
    /// The kernel caps it at net.core.somaxconn. 128 would overflow when a PHP-FPM pool wakes up.
    private static let backlog: Int32 = 4096
    /// Descriptors for everything that is not a client, an upstream or a listener.
    private static let reserve = 64
    /// A worker's epoll, timers and mailbox, and libevent's own.
    private static let descriptorsPerWorker = 6

    /// An address that another process has.
    private struct Busy {
        let address: ListenAddress
        let pool: PoolConfig

        var text: String { describe(.system(EADDRINUSE), address, pool).text }
    }

    /// Binds every address of every pool for which the service manager has passed no socket. Tries
    /// again, for a time, to bind those that are in use; the others stay bound meanwhile, and their
    /// clients wait. After a failure, none stays bound but those of a former program.
    static func bindAll(
        _ config: Config, inherited: [InheritedSocket], wait: StartWait,
        successor: Successor? = nil
    ) throws -> [BoundListener] {
        var passed = inherited
        var bound = successor.map { adopt(config, $0) } ?? []
        let adopted = bound
        var busy: [Busy] = []
        do {
            for pool in config.pools {
                for address in pool.listen {
                    if adopted.contains(where: { $0.serves(address) }) { continue }
                    bound += takeInherited(&passed, at: address, pool: pool)
                    for part in families(address) where !bound.contains(where: { $0.serves(part) })
                    {
                        if let listener = try bind(part, pool: pool) {
                            bound.append(listener)
                        } else {
                            busy.append(Busy(address: part, pool: pool))
                        }
                    }
                }
            }
            if let left = passed.first { throw unwanted(left, config) }
            while !busy.isEmpty {
                try wait.pause(busy.map(\.text).joined(separator: "; "))
                let tried = busy
                busy = []
                for place in tried {
                    if let listener = try bind(place.address, pool: place.pool) {
                        bound.append(listener)
                    } else {
                        busy.append(place)
                    }
                }
            }
            try wait.end()
        } catch {
            // Those of a former program are to be there for it when it goes on.
            for listener in bound.dropFirst(adopted.count) { release(listener) }
            throw error
        }
        number(&bound, keeping: adopted.count)
        return bound
    }

    /// The sockets of a former program. Its clients have their numbers.
    private static func adopt(_ config: Config, _ successor: Successor) -> [BoundListener] {
        var adopted: [BoundListener] = []
        for pool in config.pools {
            for address in pool.listen.flatMap({ [$0] + families($0) }) {
                let found = successor.takeListeners {
                    $0.purpose == .pool(pool.name) && $0.address == address.description
                }
                adopted += found.map { carried in
                    var listener = BoundListener(
                        pool: pool.name, descriptor: carried.descriptor, address: address,
                        file: carried.file.map { SocketFile($0) })
                    listener.number = carried.number
                    return listener
                }
            }
        }
        return adopted
    }

    private static func number(_ bound: inout [BoundListener], keeping adopted: Int) {
        var used = Set(bound[..<adopted].map(\.number))
        for index in bound.indices.dropFirst(adopted) {
            bound[index].number = (0...UInt16.max).first { !used.contains($0) } ?? 0
            used.insert(bound[index].number)
        }
    }

    /// `*` is every address of both families, so it needs two sockets.
    static func families(_ address: ListenAddress) -> [ListenAddress] {
        guard case .tcp("*", let port, let isTLS) = address else { return [address] }
        return ["0.0.0.0", "::"].map { .tcp(host: $0, port: port, isTLS: isTLS) }
    }

    /// The passed sockets for one address. Redpool does not remove their files.
    private static func takeInherited(
        _ passed: inout [InheritedSocket], at address: ListenAddress, pool: PoolConfig
    ) -> [BoundListener] {
        var found: [BoundListener] = []
        for part in families(address) {
            guard let index = passed.firstIndex(where: { $0.address.description == place(part) })
            else { continue }
            let socket = passed.remove(at: index)
            let isForAll = socket.takesBothFamilies && address != part
            found.append(
                BoundListener(
                    pool: pool.name, descriptor: socket.descriptor,
                    address: isForAll ? address : part))
        }
        return found
    }

    /// The address as a bound socket shows it.
    private static func place(_ address: ListenAddress) -> String? {
        switch address {
        case .tcp(let host, let port, _):
            SocketAddress(numericHost: host, port: port)?.description
        case .unix: address.description
        }
    }

    /// The service manager has passed a socket at which no pool listens.
    private static func unwanted(_ socket: InheritedSocket, _ config: Config) -> StartFailure {
        let wanted = config.pools.flatMap(\.listen).map(\.description).joined(separator: ", ")
        return StartFailure(
            code: Sysexit.config,
            message: "redpool: the service manager has passed a socket at "
                + "\(socket.address.description), but no pool listens there: listen has \(wanted)")
    }

    static func release(_ listener: BoundListener) {
        listener.file?.remove()
        close(listener.descriptor)
    }

    /// Nil if another process has the address: it may be about to end.
    static func bind(
        _ address: ListenAddress, pool: PoolConfig
    ) throws -> BoundListener? {
        do throws(ListenFailure) {
            switch address {
            case .tcp(let host, let port, _):
                guard let socket = SocketAddress(numericHost: host, port: port) else {
                    throw .system(EADDRNOTAVAIL)
                }
                let descriptor = socket.listen(backlog: backlog)
                if descriptor < 0 { throw .system(-descriptor) }
                return BoundListener(pool: pool.name, descriptor: descriptor, address: address)
            case .unix(let path):
                let (descriptor, file) = try SocketFile.listen(
                    path: path, mode: pool.socketMode, group: pool.socketGroup, backlog: backlog)
                return BoundListener(
                    pool: pool.name, descriptor: descriptor, address: address, file: file)
            }
        } catch {
            if case .system(EADDRINUSE) = error { return nil }
            let (code, text) = describe(error, address, pool)
            throw StartFailure(code: code, message: "redpool: \(text)")
        }
    }

    static func describe(
        _ failure: ListenFailure, _ address: ListenAddress, _ pool: PoolConfig
    ) -> (code: Int32, text: String) {
        let group = pool.socketGroup
        let code: Int32
        let text: String
        switch failure {
        case .system(let error):
            let isDenied = error == EACCES || error == EPERM
            code = isDenied ? Sysexit.noPermission : Sysexit.cannotCreate
            text = "cannot listen on \(address): \(System.errorText(error))"
        case .occupied(let kind):
            code = Sysexit.cannotCreate
            text = "cannot listen on \(address): there is \(kind) in its place"
        case .unknownGroup:
            code = Sysexit.config
            text = "there is no group \(group)"
        case .groupRefused(let error, let isMember):
            code = Sysexit.noPermission
            let cause =
                error == EPERM && !isMember
                ? "user \(System.userName) is not in group \(group)" : System.errorText(error)
            text = "cannot give \(address) to group \(group): \(cause)"
        }
        return (code, "pool \(pool.name): \(text)")
    }

    /// The limit on clients: the configured number; for `auto`, as many as the descriptors allow.
    static func clientLimit(_ config: Config, threads: Int? = nil) throws -> Int {
        let upstreams = config.pools.reduce(0) { $0 + $1.descriptors + $1.listen.count }
        let http = config.http.listen == nil ? 0 : HTTPServer.mostConnections + 2
        let others =
            upstreams + reserve + http + (threads ?? config.threads) * descriptorsPerWorker
        let wanted = config.maxClients ?? 10_000
        let limit = System.raiseFileLimit(Int64(wanted + others))
        if limit < 0 {
            throw StartFailure(
                code: Sysexit.osError,
                message: "redpool: cannot read the limit of open files: "
                    + System.errorText(Int32(-limit)))
        }
        if limit >= Int64(wanted + others) { return wanted }
        let room = Int(limit) - others
        if config.maxClients != nil || room < 1 {
            throw StartFailure(
                code: Sysexit.osError,
                message: "redpool: the limit of open files is \(limit), but "
                    + "\(config.maxClients ?? 1) clients and \(others) other descriptors are "
                    + "wanted: raise LimitNOFILE (ulimit -n) or lower maxClients, maxOpen or maxNodes"
            )
        }
        return room
    }
}

extension PoolConfig {
    /// Those of its upstreams. After a failover some are at the former primary still, and each
    /// replica that clients read from may have `maxOpen`; the Sentinels have two connections each,
    /// and a server one that asks for its role. Each node of a cluster may have `maxOpen`, and one
    /// that asks for the map.
    fileprivate var descriptors: Int {
        switch source {
        case .server: maxOpen
        case .sentinels:
            (2 + (reads == .primary ? 0 : SentinelTracker.mostReplicas)) * maxOpen
                + 2 * SentinelSource.most + 1
        case .cluster(let source): (maxOpen + 1) * source.maxNodes + ClusterSource.mostSeeds
        }
    }
}

extension BoundListener {
    /// Clients of this address connect here: it is the address, or that of all families.
    func serves(_ wanted: ListenAddress) -> Bool {
        address.isTLS == wanted.isTLS && isPlace(of: wanted)
    }

    /// The same, whether with TLS or without.
    func isPlace(of wanted: ListenAddress) -> Bool {
        if address.isPlace(of: wanted) { return true }
        guard case .tcp("*", let mine, _) = address, case .tcp(let host, let port, _) = wanted
        else { return false }
        return mine == port && (host == "0.0.0.0" || host == "::")
    }
}
