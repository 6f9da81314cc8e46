// Accepts clients for several workers, on the main thread. The main thread is otherwise idle, so a
// worker that is busy or hangs does not delay the clients of another.

package import EventLoop

/// Accepts on its own loop and hands each client to the worker with the fewest clients.
package final class Dispatcher: ClientTaker {
    private let group: WorkerGroup
    private var acceptor: Acceptor?
    private var roomWatch: [RoomWatch] = []
    private var timer: [RestTimer] = []
    private static let tickInterval: Int64 = 100_000_000

    /// Starts accepting.
    package init(_ settings: WorkerSettings, loop: EventLoop, group: WorkerGroup) {
        self.group = group
        acceptor = Acceptor(settings, loop: loop, group: group, taker: self)
        let me = Unmanaged.passUnretained(self).toOpaque()
        roomWatch = [RoomWatch(group.room, loop: loop, owner: me)]
        timer = [RestTimer(loop: loop, owner: me)]
        timer[0].timer.start(after: Dispatcher.tickInterval)
    }

    func take(_ client: AcceptedClient, for worker: Int) {
        group.mailboxes[worker].post(.accepted(client))
    }

    func warn(_ warning: AcceptWarning) {
        group.mailboxes[group.pool(warning.pool).members[0]].post(.warning(warning))
    }

    fileprivate func tick() {
        acceptor?.tick()
        timer[0].timer.start(after: Dispatcher.tickInterval)
    }

    fileprivate func roomAgain() {
        group.room.clear()
        acceptor?.roomAgain()
    }

    /// Stops listening and removes the socket files of unix listeners.
    package func close() {
        acceptor?.close()
        acceptor = nil
    }
}

/// An array cannot hold a non-copyable watch; it can hold this box.
private final class RoomWatch {
    private let watch: DescriptorWatch

    init(_ room: Wakeup, loop: EventLoop, owner: UnsafeMutableRawPointer) {
        watch = DescriptorWatch(
            descriptor: room.descriptor, loop: loop, owner: owner, callback: dispatcherRoom)
    }
}

private final class RestTimer {
    let timer: Timer

    init(loop: EventLoop, owner: UnsafeMutableRawPointer) {
        timer = Timer(loop: loop, owner: owner, callback: dispatcherTick)
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
