// The listeners of another configuration: those that stay, those that are bound now, and those that
// go. Either all of it is possible, or nothing is changed.

import Config
import EventLoop
import Glibc
import Logging
import Proxy

/// A problem with a listener of a new configuration.
struct ListenProblem {
    let pool: String
    let text: String
}

/// The listeners of a new configuration, ready to be used.
struct ListenerPlan {
    private(set) var listeners: [BoundListener] = []
    private(set) var problems: [ListenProblem] = []
    private var added: [BoundListener] = []
    private var changed: [(file: SocketFile, before: SocketRights)] = []
    private let present: [BoundListener]

    /// Binds what is new, and gives socket files their new rights. Look at `problems` afterwards:
    /// if there are any, call `undo`.
    init(from old: Config, _ present: [BoundListener], to config: Config) {
        self.present = present
        for pool in config.pools {
            let before = old.pools.first { $0.name == pool.name }
            for address in pool.listen.flatMap(Listeners.families) {
                if listeners.contains(where: { $0.serves(address) }) { continue }
                if let there = present.first(where: { $0.serves(address) }) {
                    keep(there, for: pool, before)
                } else if let there = present.first(where: { $0.isPlace(of: address) }) {
                    pass(there, to: pool, isTLS: address.isTLS)
                } else {
                    bind(address, for: pool)
                }
            }
        }
    }

    /// The numbers of the listeners that go.
    var removed: Set<UInt16> {
        Set(present.map(\.number)).subtracting(listeners.map(\.number))
    }

    private mutating func keep(
        _ there: BoundListener, for pool: PoolConfig, _ before: PoolConfig?
    ) {
        if let file = there.file,
            there.pool != pool.name || before?.socketMode != pool.socketMode
                || before?.socketGroup != pool.socketGroup
        {
            do throws(ListenFailure) {
                let rights = try file.change(mode: pool.socketMode, group: pool.socketGroup)
                changed.append((file, rights))
            } catch {
                report(error, there.address, pool)
                return
            }
        }
        if there.pool == pool.name {
            listeners.append(there)
        } else {
            pass(there, to: pool, isTLS: there.address.isTLS)
        }
    }

    /// The address belongs to another pool now, or changes to TLS or back: its present clients
    /// leave, later ones are served in the new way.
    private mutating func pass(_ there: BoundListener, to pool: PoolConfig, isTLS: Bool) {
        let copy = fcntl(there.descriptor, F_DUPFD_CLOEXEC, 0)
        if copy < 0 {
            report(.system(errno), there.address, pool)
            return
        }
        add(
            BoundListener(
                pool: pool.name, descriptor: copy, address: there.address.speaking(tls: isTLS),
                file: there.file))
    }

    private mutating func bind(_ address: ListenAddress, for pool: PoolConfig) {
        do {
            if let listener = try Listeners.bind(address, pool: pool) {
                add(listener)
            } else {
                report(.system(EADDRINUSE), address, pool)
            }
        } catch let failure as StartFailure {
            let text = failure.message ?? "cannot listen on \(address)"
            problems.append(ListenProblem(pool: pool.name, text: text))
        } catch {
            problems.append(ListenProblem(pool: pool.name, text: "\(error)"))
        }
    }

    private mutating func add(_ listener: BoundListener) {
        var listener = listener
        let used = Set((present + listeners).map(\.number))
        listener.number = (0...UInt16.max).first { !used.contains($0) } ?? 0
        added.append(listener)
        listeners.append(listener)
    }

    private mutating func report(
        _ failure: ListenFailure, _ address: ListenAddress, _ pool: PoolConfig
    ) {
        let text = Listeners.describe(failure, address, pool).text
        problems.append(ListenProblem(pool: pool.name, text: text))
    }

    /// Takes everything back: the present listeners are as they were.
    func undo() {
        for listener in added {
            if present.contains(where: { $0.file != nil && $0.file === listener.file }) {
                close(listener.descriptor)
            } else {
                Listeners.release(listener)
            }
        }
        for (file, rights) in changed { file.restore(rights) }
    }
}

extension Config {
    /// Says in which pools of `new` other settings or files of TLS are for new clients.
    func tellOfListenTLS(_ new: Config, _ log: Logger) -> [String] {
        new.pools.compactMap { pool in
            guard let before = pools.first(where: { $0.name == pool.name })?.listenTLS,
                let tls = pool.listenTLS, tls != before
            else { return nil }
            log.notice(
                "TLS for new clients is that of the new settings and files",
                metadata: ["event": "tls.reloaded", "pool": "\(pool.name)", "side": "client"])
            return tls.hasSameFiles(as: before)
                ? nil : "pools.\(pool.name): other TLS files for clients"
        }
    }
}
