// Accepts clients for several workers, on the main thread. The main thread is otherwise idle, so a
// worker that is busy or hangs does not delay the clients of another.

package import EventLoop

/// Accepts on its own loop and hands each client to the worker with the fewest clients.
package final class Dispatcher: ClientTaker {
    private let group: WorkerGroup
    private var acceptor: Acceptor?
    private var roomWatch: DescriptorWatch?
    private var timer: Timer?
    private static let tickInterval: Int64 = 100_000_000

    /// Starts accepting.
    package init(_ settings: WorkerSettings, loop: EventLoop, group: WorkerGroup) {
        self.group = group
        acceptor = Acceptor(settings, loop: loop, group: group, taker: self)
        let me = Unmanaged.passUnretained(self).toOpaque()
        roomWatch = DescriptorWatch(
            descriptor: group.room.descriptor, loop: loop, owner: me, callback: dispatcherRoom)
        timer = Timer(loop: loop, owner: me, callback: dispatcherTick)
        timer?.start(after: Dispatcher.tickInterval)
    }

    func take(_ client: AcceptedClient, for worker: Int) {
        group.mailboxes[worker].post(.accepted(client))
    }

    func warn(_ warning: AcceptWarning) {
        let worker = group.pool(warning.pool)?.members[0] ?? 0
        group.mailboxes[worker].post(.warning(warning))
    }

    fileprivate func tick() {
        acceptor?.tick()
        timer?.start(after: Dispatcher.tickInterval)
    }

    fileprivate func roomAgain() {
        group.room.clear()
        acceptor?.roomAgain()
    }

    /// Stops accepting, or goes on with it: clients wait in the kernel meanwhile.
    package func accepts(_ isOn: Bool) { acceptor?.accepts(isOn) }

    /// Continues with other listeners. The workers have been told of their pools before.
    package func replace(_ settings: WorkerSettings) { acceptor?.replace(settings) }

    /// Stops listening and removes the socket files of unix listeners.
    package func close() {
        acceptor?.close()
        acceptor = nil
    }
}

private func dispatcherRoom(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Dispatcher>.fromOpaque(owner).takeUnretainedValue().roomAgain()
}

private func dispatcherTick(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Dispatcher>.fromOpaque(owner).takeUnretainedValue().tick()
}
