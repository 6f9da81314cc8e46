// Listening sockets. They accept in small batches and pause when descriptors or memory run out. One
// worker has them on its own loop; for several workers they are on the main thread's loop.

import Config
import EventLoop
import Glibc
import Synchronization

/// A client connection that has been accepted and counted.
package struct AcceptedClient: Sendable {
    /// Name of the pool.
    let pool: String
    let descriptor: Int32
    let peer: SocketAddress
    /// The id that the client sees. It is never reused.
    let serial: UInt64
    /// The number of the listener.
    var listener: UInt16 = 0
    /// The client is to speak TLS.
    var isTLS = false

    /// The peer, for people: its address, or the process and the user behind a unix socket.
    var peerText: String {
        guard peer.isUnix, let process = SocketAddress.process(of: descriptor) else {
            return peer.description
        }
        return "unix pid=\(process.pid) uid=\(process.uid)"
    }
}

/// Takes the clients and warnings of an acceptor.
protocol ClientTaker: AnyObject {
    func take(_ client: AcceptedClient, for worker: Int)
    func warn(_ warning: AcceptWarning)
}

/// A warning from a listener for the log. Repeated ones are merged.
package struct AcceptWarning: Sendable {
    let pool: String
    let event: String
    let reason: String
    let text: String
}

/// All listeners of the process, and the limit on clients.
package final class Acceptor {
    fileprivate let loop: EventLoop
    fileprivate let group: WorkerGroup
    private var maxClients: Int
    private unowned let taker: any ClientTaker
    private var listeners: [Listener] = []
    fileprivate var restingSince: Int64?
    /// Clients are to wait in the kernel, see `accepts`.
    private var isOff = false
    /// How long to pause after EMFILE and the like, in nanoseconds, unless a client leaves earlier.
    private static let rest: Int64 = 1_000_000_000

    init(
        _ settings: WorkerSettings, loop: EventLoop, group: WorkerGroup, taker: any ClientTaker
    ) {
        self.loop = loop
        self.group = group
        self.taker = taker
        maxClients = settings.maxClients
        listeners = settings.listeners.map { bound in
            Listener(bound, self, keepalive: settings.keepalive(of: bound.pool))
        }
    }

    /// Counts an accepted connection and hands it over, or refuses it with Redis's error.
    fileprivate func accepted(
        _ descriptor: Int32, from peer: SocketAddress, on listener: Listener
    ) {
        let pool = listener.pool
        guard let place = group.admit(maxClients, to: pool) else {
            refuse(descriptor, pool, isTLS: listener.address.isTLS)
            return
        }
        taker.take(
            AcceptedClient(
                pool: pool, descriptor: descriptor, peer: peer, serial: place.serial,
                listener: listener.number, isTLS: listener.address.isTLS),
            for: place.worker)
    }

    /// What is no TLS would only puzzle a client that expects it.
    private func refuse(_ descriptor: Int32, _ pool: String, isTLS: Bool) {
        group.pool(pool)?.countRejected()
        let text: StaticString = "-ERR max number of clients reached\r\n"
        // Best effort, as in Redis: the send buffer of a new connection has room for 36 bytes.
        var refused = Channel(
            descriptor: descriptor, loop: loop,
            owner: Unmanaged.passUnretained(self).toOpaque(), onReadable: ignoreEvent,
            onWritable: ignoreEvent)
        if !isTLS { _ = refused.send(text.utf8Start, count: text.utf8CodeUnitCount) }
        refused.close()
        taker.warn(
            AcceptWarning(
                pool: pool, event: "client.rejected", reason: "max_clients",
                text: "max number of clients reached (\(maxClients))"))
    }

    /// Descriptors or memory have run out. Pauses all listeners, because a level-triggered listener
    /// would spin.
    fileprivate func takeRest(_ error: Int32, _ listener: Listener) {
        restingSince = EventLoop.now()
        for listener in listeners { listener.pause() }
        group.pool(listener.pool)?.countRest()
        taker.warn(
            AcceptWarning(
                pool: listener.pool, event: "listener.rest", reason: "fd_limit",
                text: "cannot accept on \(listener.address): \(System.errorText(error)); "
                    + "trying again in 1s"))
        group.isAcceptorResting.store(true, ordering: .sequentiallyConsistent)
    }

    /// Stops accepting, or goes on with it: clients wait in the kernel meanwhile. The end of a rest
    /// does not change that.
    func accepts(_ isOn: Bool) {
        isOff = !isOn
        listenOrPause()
    }

    private func listenOrPause() {
        let isPaused = isOff || restingSince != nil
        for listener in listeners {
            if isPaused { listener.pause() } else { listener.resume() }
        }
    }

    /// Called about every 100 ms.
    package func tick() {
        if let since = restingSince, EventLoop.now() - since >= Acceptor.rest { roomAgain() }
    }

    /// A descriptor may have become free.
    package func roomAgain() {
        guard restingSince != nil else { return }
        restingSince = nil
        group.isAcceptorResting.store(false, ordering: .relaxed)
        listenOrPause()
    }

    /// Continues with the listeners and the limit of other settings. A listener that they have as
    /// well goes on as it is; one that they do not have is closed.
    func replace(_ settings: WorkerSettings) {
        maxClients = settings.maxClients
        var kept: [Listener] = []
        for listener in listeners {
            if let bound = settings.listeners.first(where: { $0.number == listener.number }) {
                listener.tune(settings.keepalive(of: bound.pool))
                kept.append(listener)
            } else {
                let isFileKept = settings.listeners.contains { $0.file === listener.file }
                listener.close(keepingFile: isFileKept)
            }
        }
        let known = Set(kept.map(\.number))
        for bound in settings.listeners where !known.contains(bound.number) {
            kept.append(Listener(bound, self, keepalive: settings.keepalive(of: bound.pool)))
        }
        listeners = kept
        listenOrPause()
    }

    /// Stops listening and removes the socket files of unix listeners.
    package func close() {
        restingSince = nil
        for listener in listeners { listener.close() }
        listeners = []
    }
}

/// Accepts clients for one pool. States: `open` <-> `resting` when descriptors or memory run out,
/// -> `closed`.
private final class Listener {
    /// Bounds a batch, so that a burst of new clients does not starve the others.
    private static let largestBatch = 64
    /// The same for clients with TLS, which cost more.
    private static let largestSecureBatch = 4
    /// How many clients are accepted in this iteration. It starts at one, because an `accept` that
    /// finds no client is a wasted system call. It doubles while successive iterations have
    /// clients.
    private var batch = 1
    private var lastTurn: UInt64 = 0

    private unowned let acceptor: Acceptor
    let pool: String
    let address: ListenAddress
    let number: UInt16
    let file: SocketFile?
    private var channel: Channel

    init(_ bound: BoundListener, _ acceptor: Acceptor, keepalive: Int64) {
        self.acceptor = acceptor
        pool = bound.pool
        address = bound.address
        file = bound.file
        number = bound.number
        // Set below: the channel needs a pointer to `self`, which is not initialized yet.
        channel = Channel()
        channel = Channel(
            descriptor: bound.descriptor, loop: acceptor.loop,
            owner: Unmanaged.passUnretained(self).toOpaque(), onReadable: listenerReadable,
            onWritable: listenerReadable)
        tune(keepalive)
        channel.startReading()
    }

    /// Sets the options that accepted sockets get. On Linux they inherit them, which saves five
    /// system calls per client.
    func tune(_ keepalive: Int64) {
        if case .unix = address { return }
        SocketAddress.tune(
            channel.descriptor, keepaliveSeconds: Int32(clamping: keepalive / 1_000_000_000))
    }

    func acceptSome() {
        let turn = acceptor.loop.turns
        let most = address.isTLS ? Listener.largestSecureBatch : Listener.largestBatch
        batch = turn == lastTurn + 1 ? min(batch * 2, most) : 1
        lastTurn = turn
        for _ in 0..<batch {
            let (descriptor, peer) = SocketAddress.accept(channel.descriptor)
            if descriptor >= 0 {
                acceptor.accepted(descriptor, from: peer, on: self)
                continue
            }
            switch -descriptor {
            case EAGAIN:
                lastTurn = 0
                return
            case ECONNABORTED, EPROTO: continue
            default:
                acceptor.takeRest(-descriptor, self)
                return
            }
        }
    }

    func pause() { channel.stopReading() }

    func resume() {
        if channel.isOpen { channel.startReading() }
    }

    func close(keepingFile: Bool = false) {
        guard channel.isOpen else { return }
        if !keepingFile { file?.remove() }
        channel.close()
    }
}

private func listenerReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Listener>.fromOpaque(owner).takeUnretainedValue().acceptSome()
}

private func ignoreEvent(_: Int32, _: Int16, _: UnsafeMutableRawPointer?) {}
