// What the replicas that Sentinels name say, for `redpool check --online`.

import Config
import EventLoop
import RESP
import Topology

extension OnlineReport {
    private static let question = [["INFO", "replication"].map { Array($0.utf8) }]

    /// Says of each replica whether clients can read there. Where they cannot, the primary is read
    /// from, so nothing of it is a complaint.
    mutating func checkReplicas(
        _ replicas: [NodeAddress], _ primary: Exchange
    ) throws(ExchangeFailure) {
        let reply = try primary.replies(to: OnlineReport.question)[0]
        guard let info = ReplicationInfo(reply), info.role == .primary else {
            let error = OnlineReport.error(in: reply)
            return note("the primary does not say how far its replication is: \(error)")
        }
        if replicas.isEmpty { note("no Sentinel names a replica that is up") }
        for replica in replicas { note("replica \(replica) \(verdict(on: replica, behind: info))") }
    }

    private func verdict(on replica: NodeAddress, behind primary: ReplicationInfo) -> String {
        guard let target = UpstreamAddress(host: replica.hostText, port: replica.port) else {
            return "has no address that can be dialled"
        }
        let (exchange, problem) = login(at: target)
        guard let exchange else { return "cannot be used: \(problem ?? "")" }
        do throws(ExchangeFailure) {
            let reply = try exchange.replies(to: OnlineReport.question)[0]
            guard let info = ReplicationInfo(reply) else {
                return "does not say how far it is: \(OnlineReport.error(in: reply))"
            }
            guard info.role == .replica(isLinked: true), info.history == primary.history else {
                return "is not linked to the primary"
            }
            return "can be read from, and is \(max(0, primary.offset - info.offset)) bytes behind"
        } catch {
            return "cannot be used: \(error.text)"
        }
    }

    private static func error(in reply: [UInt8]) -> String {
        if case .error(let text) = Exchange.read(reply) {
            text
        } else {
            "an answer that is not understood"
        }
    }
}
