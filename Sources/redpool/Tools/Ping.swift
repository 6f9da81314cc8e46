// `redpool ping`: a PING through a pool's own listener, for probes.

import Config
import EventLoop

/// How a pool has answered a probe, in the order of severity.
private enum Probe: Int32 {
    case well = 0
    /// The daemon has refused, or the server has answered with an error.
    case unwell = 1
    /// Nobody listens.
    case unreachable = 69
}

/// Sends PING to the pools of a configuration, or to one of them. Returns the exit code.
func ping(config path: String, pool wanted: String?) throws -> Int32 {
    let pools = try loadListeners(path).filter { wanted == nil || $0.name == wanted }
    if let wanted, pools.isEmpty {
        throw UsageError(problem: "\(path) has no pool '\(wanted)'", subcommand: .ping)
    }
    var worst = Probe.well
    for pool in pools {
        let (probe, text) = probe(pool)
        if probe == .well {
            print("\(pool.name): \(text)")
        } else {
            complain("\(pool.name): \(text)")
        }
        if probe.rawValue > worst.rawValue { worst = probe }
    }
    return worst.rawValue
}

/// Longer than the default of poolTimeout, so that its error is seen.
private let patience: Int64 = 6_000_000_000

private func probe(_ pool: PoolConfig) -> (Probe, String) {
    // A probe has no certificate to show: where clients need one, it uses another listener.
    let place = pool.listen.first { !$0.isTLS } ?? pool.listen[0]
    guard let address = place.local else { return (.unreachable, "\(place) is no address") }
    do throws(ExchangeFailure) {
        let began = BlockingSocket.now
        let exchange = try Exchange(address, within: patience)
        if place.isTLS { try exchange.beginUnverifiedTLS() }
        let answer = try exchange.ask(["PING"])
        switch answer {
        case .error(let text) where text.hasPrefix("NOAUTH") || text.hasPrefix("NOPERM"):
            return (.well, "the server answers: \(text)")
        case .error(let text):
            return (.unwell, text)
        case .text(let text):
            return (.well, "\(text) in \((BlockingSocket.now - began) / 1000) us")
        case .list, .null:
            return (.unwell, "the answer to PING is none")
        }
    } catch {
        return (error.wasConnected ? .unwell : .unreachable, "\(place): \(error.text)")
    }
}

extension ListenAddress {
    /// Where a client of this machine connects.
    fileprivate var local: SocketAddress? {
        switch self {
        case .unix(let path): SocketAddress(unixPath: path)
        case .tcp("*", let port, _), .tcp("0.0.0.0", let port, _):
            SocketAddress(numericHost: "127.0.0.1", port: port)
        case .tcp("::", let port, _): SocketAddress(numericHost: "::1", port: port)
        case .tcp(let host, let port, _): SocketAddress(numericHost: host, port: port)
        }
    }
}
