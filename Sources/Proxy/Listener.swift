// A listening socket: accepts in small batches, and rests when there is no room.

import Config
import EventLoop
import Glibc
import Logging
import Pool

/// Accepts clients for one pool. `open` <-> `resting` when descriptors or memory run out, -> `closed`.
final class Listener {
    /// An accept storm must not starve established clients.
    private static let batch = 64
    /// How long to rest after EMFILE, unless a client leaves earlier.
    private static let rest: Int64 = 1_000_000_000

    private let worker: Worker
    private let pool: UpstreamPool
    private let address: ListenAddress
    private var channel: Channel
    private var restingSince: Int64?
    private let keepaliveSeconds: Int32

    init(_ bound: BoundListener, worker: Worker, pool: UpstreamPool) {
        self.worker = worker
        self.pool = pool
        address = bound.address
        keepaliveSeconds = Int32(clamping: pool.config.keepalive / 1_000_000_000)
        // Filled in below: the channel wants a pointer to its owner, which is not whole yet.
        channel = Channel()
        channel = Channel(
            descriptor: bound.descriptor, loop: worker.loop,
            owner: Unmanaged.passUnretained(self).toOpaque(), onReadable: listenerReadable,
            onWritable: listenerReadable)
        channel.startReading()
    }

    fileprivate func acceptSome() {
        worker.updateNow()
        for _ in 0..<Listener.batch {
            let (descriptor, peer) = SocketAddress.accept(channel.descriptor)
            if descriptor >= 0 {
                if !peer.isUnix {
                    SocketAddress.tune(descriptor, keepaliveSeconds: keepaliveSeconds)
                }
                worker.accepted(descriptor, from: peer, for: pool)
                continue
            }
            switch -descriptor {
            case EAGAIN: return
            case ECONNABORTED, EPROTO: continue
            default:
                takeRest(-descriptor)
                return
            }
        }
    }

    /// Out of descriptors or memory: a level-triggered listener would spin.
    private func takeRest(_ error: Int32) {
        channel.stopReading()
        restingSince = worker.now.nanoseconds
        worker.statistics.rejected += 1
        pool.warnLimit(
            "listener.rest", reason: "fd_limit",
            "cannot accept on \(address): \(System.errorText(error)); trying again in 1s")
    }

    func tick() {
        if let since = restingSince, worker.now.nanoseconds - since >= Listener.rest {
            roomAgain()
        }
    }

    /// A descriptor may have become free.
    func roomAgain() {
        guard restingSince != nil else { return }
        restingSince = nil
        channel.startReading()
    }

    /// Stops listening and removes the socket file of a unix listener.
    func close() {
        guard channel.isOpen else { return }
        restingSince = nil
        channel.close()
        if case .unix(let path) = address { SocketAddress.removeFile(path: path) }
    }
}

private func listenerReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Listener>.fromOpaque(owner).takeUnretainedValue().acceptSome()
}
