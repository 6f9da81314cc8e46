// What happens to unanswered commands when a connection is lost. A command is sent again only if
// it is proven that the server has not received it. The outcome of any other is unknown.
//
// The proof: its last byte was never written; or the stream ended in order (EOF, not a reset) and
// the peer's kernel has not acknowledged that byte. The FIN of a closing server acknowledges
// everything that it had received before (RFC 9293, 3.10.7.4: a segment's ACK field is RCV.NXT),
// whether the server has read it or not. Later bytes find the receiving side shut and are answered
// with a reset, so the server cannot have read them. This holds for close(), for the end of a
// process, and for shutdown(SHUT_RDWR), which Redis 7.2 uses while it has a child. It does not
// hold for a peer that ends only its own direction and reads on; neither Redis nor Valkey does
// that. A reset may have overtaken a read or a reply, so it proves nothing, whichever system call
// reports it. Unix sockets acknowledge nothing: there, only unwritten commands are sent again.
//
// With TLS, both kernels count ciphertext, and a record is opened only as a whole: the bound is
// the end of the last record that the peer's kernel has (`Channel.receivedBound`). The FIN decides
// there too, and never close_notify, which may come before the last acknowledgement.
//
// A connection to a replica that clients read from carries reads only. These are sent again without
// proof, because a read changes nothing.

import Config
import EventLoop
import Pool
import RESP
import Session

extension UpstreamConnection {
    /// The unanswered commands of one client.
    private struct Claim {
        var client: ClientConnection
        var bytes: [UInt8] = []
        /// The number of commands.
        var count = 0
        /// At least one of them may have run.
        var isLost = false
        /// Each of them can be answered with an error: no part of a reply has been passed on, and
        /// the connection had no state of the client.
        var canBeAnswered = true
    }

    /// Returns unreceived commands to their clients and closes the other clients. Afterwards
    /// nothing is in flight.
    func rescueUnreceived(_ reason: CloseReason) {
        if case .prepare(let client) = handshake.purpose, stage == .handshaking {
            // No command of the client itself has been sent yet.
            handshake = Handshake()
            client.sendAgain([])
        }
        guard !inFlight.isEmpty, !handBackRecalled() else { return }
        // Reads can be repeated, whether they have run or not.
        let received = origin.isReadOnly ? 0 : received(reason)
        let claims = claims(receivedUpTo: received)
        let placed = placedCommands(receivedUpTo: received)
        let wasShared = isShared
        output.drop(pool: worker.chunks)
        inFlight.removeAll()
        for claim in claims {
            if claim.client === holder { abandon() }
            if claim.isLost, claim.canBeAnswered, !ending.isMisaligned,
                pool.config.onUpstreamLoss == .error
            {
                claim.client.answerLost(claim.count, server.lossText(reason))
            } else if claim.isLost {
                claim.client.upstreamLost()
            } else {
                claim.client.sendAgain(
                    claim.bytes, count: claim.count, wasShared: wasShared)
            }
        }
        if !placed.isEmpty { giveUp(placed, server.lossText(reason)) }
    }

    /// The position in the outgoing stream up to which the server may have received bytes.
    private func received(_ reason: CloseReason) -> Int64 {
        if let bound = channel.receivedBound(isOrderly: reason == .upstreamClosed) { return bound }
        guard reason == .upstreamClosed, let acknowledged = channel.acknowledged() else {
            return output.sentTotal
        }
        return min(acknowledged, output.sentTotal)
    }

    private func claims(receivedUpTo received: Int64) -> [Claim] {
        var claims: [Claim] = []
        var places: [UInt64: Int] = [:]
        var offset = output.answeredTotal
        inFlight.forEach { entry in
            let start = offset
            offset += Int64(entry.bytes)
            guard let client = worker.clients[entry.client], client.upstream === self,
                !entry.expectation.isPlaced, client.strands == nil
            else { return }
            let place = places[entry.client.raw] ?? claims.count
            if place == claims.count {
                places[entry.client.raw] = place
                let isLost = isStateLost(of: client)
                claims.append(
                    Claim(
                        client: client, isLost: isLost,
                        canBeAnswered: !isLost && isShared))
            }
            // No client gets a fence's reply, and a fence is not sent again.
            if entry.expectation == .fence { return }
            claims[place].count += Int(entry.count)
            if entry.expectation.isQuestion || entry.isSilent {
                claims[place].canBeAnswered = false
            }
            if entry.isSilent || entry.bytes == 0 || entry.expectation.isTranslated(entry.value) {
                claims[place].isLost = true
            } else if let bytes = unreceived(entry, start: start, received: received) {
                claims[place].bytes += bytes
            } else {
                claims[place].isLost = true
            }
        }
        return claims
    }

    /// True if the connection had state of this client that cannot be rebuilt.
    private func isStateLost(of client: ClientConnection) -> Bool {
        if case .streaming = client.mode { return true }
        guard let hold else { return incoming.isRelaying && client.id == inFlight.first.client }
        return !hold.isClean || incoming.isRelaying
    }

    /// The unanswered commands of an entry; nil if the server may have received one of them.
    private func unreceived(_ entry: InFlight, start: Int64, received: Int64) -> [UInt8]? {
        if entry.expectation.isQuestion { return [] }
        guard start >= output.releasedTotal else { return nil }
        let all = output.copy(
            offset: Int(start - output.releasedTotal), count: Int(entry.bytes))
        if entry.expectation == .block || entry.expectation == .blockEnd {
            return start >= received ? all : nil
        }
        // The last `count` commands of a run are unanswered.
        var ends: [Int] = []
        var scanner = CommandScanner()
        var position = 0
        while position < all.count,
            case .command(let frame) = scanner.scan(
                all.span, frameStart: position, limits: worker.limits.loggedIn)
        {
            ends.append(frame.end)
            position = frame.end
        }
        let answered = ends.count - Int(entry.count)
        guard answered >= 0, answered < ends.count else { return nil }
        // Commands are received in order, so the first unanswered one decides.
        guard start + Int64(ends[answered]) > received else { return nil }
        return Array(all[(answered == 0 ? 0 : ends[answered - 1])...])
    }
}
