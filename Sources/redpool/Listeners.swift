// Binding of all listeners before anything else starts, and the arithmetic of descriptors.

import Config
import EventLoop
import Glibc
import Proxy

enum Listeners {
    /// The kernel caps it at net.core.somaxconn; 128 overflows when a PHP-FPM pool wakes up.
    private static let backlog: Int32 = 4096
    /// Descriptors for everything that is not a client, an upstream or a listener.
    private static let reserve = 64
    /// A worker's epoll, its timers, its mailbox, and what libevent has for itself.
    private static let descriptorsPerWorker = 6

    /// Binds every address of every pool; on a failure nothing stays bound.
    static func bindAll(_ config: Config) throws -> [BoundListener] {
        var bound: [BoundListener] = []
        do {
            for (index, pool) in config.pools.enumerated() {
                for address in pool.listen.flatMap(families) {
                    bound.append(try bind(address, pool: pool, index: index))
                }
            }
        } catch {
            for listener in bound { release(listener) }
            throw error
        }
        return bound
    }

    /// `*` means every address of both families, which are two sockets.
    private static func families(_ address: ListenAddress) -> [ListenAddress] {
        guard case .tcp("*", let port) = address else { return [address] }
        return [.tcp(host: "0.0.0.0", port: port), .tcp(host: "::", port: port)]
    }

    private static func release(_ listener: BoundListener) {
        close(listener.descriptor)
        if case .unix(let path) = listener.address { SocketAddress.removeFile(path: path) }
    }

    private static func bind(
        _ address: ListenAddress, pool: PoolConfig, index: Int
    ) throws -> BoundListener {
        let socket: SocketAddress?
        switch address {
        case .tcp(let host, let port): socket = SocketAddress(numericHost: host, port: port)
        case .unix(let path): socket = SocketAddress(unixPath: path)
        }
        guard let socket else {
            throw StartFailure(
                code: Sysexit.config,
                message: "redpool: pool \(pool.name): \(address) is not an address to listen on")
        }
        let descriptor = socket.listen(backlog: backlog)
        if descriptor < 0 { throw failure(address, pool, -descriptor) }
        let listener = BoundListener(pool: index, descriptor: descriptor, address: address)
        if case .unix(let path) = address {
            let error = SocketAddress.setPermissions(
                path: path, mode: pool.socketMode, group: pool.socketGroup)
            if error != 0 {
                release(listener)
                if error == EINVAL {
                    throw StartFailure(
                        code: Sysexit.config,
                        message: "redpool: pool \(pool.name): there is no group \(pool.socketGroup)"
                    )
                }
                throw failure(address, pool, error)
            }
        }
        return listener
    }

    private static func failure(
        _ address: ListenAddress, _ pool: PoolConfig, _ error: Int32
    ) -> StartFailure {
        let denied = error == EACCES || error == EPERM
        return StartFailure(
            code: denied ? Sysexit.noPermission : Sysexit.cannotCreate,
            message: "redpool: pool \(pool.name): cannot listen on \(address): "
                + System.errorText(error))
    }

    /// How many clients there can be: the configured number if the descriptors suffice for it, or
    /// as many as they do.
    static func clientLimit(_ config: Config) throws -> Int {
        let upstreams = config.pools.reduce(0) { $0 + $1.maxOpen + $1.listen.count }
        let others = upstreams + reserve + config.threads * descriptorsPerWorker
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
                    + "wanted: raise LimitNOFILE (ulimit -n) or lower maxClients or maxOpen")
        }
        return room
    }
}
