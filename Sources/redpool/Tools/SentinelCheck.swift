// What the Sentinels of a pool say, for `redpool check --online`.

import Config
import EventLoop
import RESP
import Topology

/// The Sentinels of the configuration, asked one after the other.
struct SentinelCheck {
    /// What each says, or why it says nothing.
    private(set) var lines: [String] = []
    /// The address with the highest epoch, as the daemon decides; nil if nobody names one.
    private(set) var primary: UpstreamAddress?
    /// Its replicas that a Sentinel says are up, if they are wanted.
    private(set) var replicas: [NodeAddress] = []
    private let source: SentinelSource
    private let wantsReplicas: Bool
    private var claims: [PrimaryClaim] = []
    private var named: [(claim: PrimaryClaim, replicas: [NodeAddress])] = []

    /// - Parameters:
    ///   - time: the longest that one address may take, in nanoseconds.
    ///   - wantsReplicas: clients read from replicas.
    init(_ source: SentinelSource, within time: Int64, wantsReplicas: Bool) {
        self.source = source
        self.wantsReplicas = wantsReplicas
        for case .tcp(let host, let port) in source.addresses {
            let answer = SocketAddress.resolve(host, port: port)
            if answer.addresses.isEmpty {
                lines.append("Sentinel \(host): cannot look up: \(answer.problem)")
            }
            for address in answer.addresses { ask(address, host: host, within: time) }
        }
        guard let best = claims.max(by: { $0.epoch < $1.epoch }) else { return }
        let count = claims.count { $0.address == best.address }
        let name = String(decoding: best.address.host, as: UTF8.self)
        primary = UpstreamAddress(host: name, port: best.address.port)
        for address in named.filter({ $0.claim == best }).flatMap(\.replicas)
        where address != best.address && !replicas.contains(address) {
            replicas.append(address)
        }
        lines.append(
            "the primary of \(source.primaryName) is \(best.address), by \(count) of "
                + "\(claims.count) answers")
    }

    private mutating func ask(_ address: SocketAddress, host: String, within time: Int64) {
        let place = address.description
        do throws(ExchangeFailure) {
            let exchange = try Exchange(address, within: time)
            if let tls = source.tls {
                _ = try exchange.beginTLS(tls, host: host, place: place)
            }
            guard try logIn(exchange, place) else { return }
            let name = Array(source.primaryName.utf8)
            let replies = try exchange.replies(
                to: SentinelAnswer.questions(about: name, withReplicas: wantsReplicas))
            // The daemon uses only a Sentinel whose messages it may have.
            let asked = ["SUBSCRIBE"] + SentinelMessage.channels
            if SentinelAnswer(replies: replies).claim != nil,
                case .error(let text) = try exchange.ask(asked)
            {
                lines.append("Sentinel \(place) refuses SUBSCRIBE: \(text)")
                return
            }
            take(replies, from: place)
        } catch {
            lines.append("Sentinel \(place): \(error.text)")
        }
    }

    private mutating func logIn(
        _ exchange: Exchange, _ place: String
    ) throws(ExchangeFailure) -> Bool {
        guard let password = source.password else { return true }
        let user = source.username.isEmpty ? [] : [source.username]
        guard case .error(let text) = try exchange.ask(["AUTH"] + user + [password.text]) else {
            return true
        }
        lines.append("Sentinel \(place) refuses the login: \(text)")
        return false
    }

    private static func error(in replies: [[UInt8]]) -> String? {
        replies.compactMap { reply -> String? in
            if case .error(let text) = Exchange.read(reply) { text } else { nil }
        }.first
    }

    /// It wants a login, or the user may not ask.
    private static func isRefusal(_ replies: [[UInt8]]) -> Bool {
        let error = error(in: replies) ?? ""
        return error.hasPrefix("NOAUTH") || error.hasPrefix("NOPERM")
    }

    private mutating func take(_ replies: [[UInt8]], from place: String) {
        let answer = SentinelAnswer(replies: replies)
        guard let claim = answer.claim else {
            let error = SentinelCheck.error(in: replies)
            lines.append(
                SentinelCheck.isRefusal(replies)
                    ? "Sentinel \(place) refuses the questions: \(error ?? "")"
                    : "Sentinel \(place) does not know \(source.primaryName): "
                        + (error ?? "it is no Sentinel, or a failover is going on"))
            return
        }
        claims.append(claim)
        lines.append(
            "Sentinel \(place) names \(claim.address), epoch \(claim.epoch), and knows "
                + "\(answer.peers.count) other Sentinels")
        guard wantsReplicas else { return }
        if let replicas = answer.replicas {
            named.append((claim, replicas.up))
        } else {
            let error = SentinelCheck.error(in: replies) ?? "an answer that is not understood"
            lines.append("Sentinel \(place) does not name replicas: \(error)")
        }
    }
}
