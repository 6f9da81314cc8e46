// How other threads talk to a worker: messages under a mutex, and an eventfd that wakes its loop.

internal import CLibevent
internal import Glibc
internal import Synchronization

/// Wakes an event loop from any thread.
package final class Wakeup: Sendable {
    package let descriptor: Int32

    /// Nil when the system has no descriptors left.
    package init?() {
        let fd = redpool_eventfd()
        guard fd >= 0 else { return nil }
        descriptor = fd
    }

    deinit {
        _ = Glibc.close(descriptor)
    }

    /// Makes the descriptor readable until `clear()`.
    package func signal() {
        _ = redpool_eventfd_signal(descriptor)
    }

    /// Waits until somebody has signalled. For a thread whose loop stands still.
    package func wait() {
        _ = redpool_wait(descriptor, Int16(POLLIN), .max)
    }

    /// The loop calls this before it handles the reason for the wakeup.
    package func clear() {
        _ = redpool_eventfd_clear(descriptor)
    }
}

/// A queue of messages. Any thread may add to it; one loop empties it.
package final class Mailbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    package let wakeup: Wakeup

    /// Nil when the system has no descriptors left for the wakeup.
    package init?() {
        guard let wakeup = Wakeup() else { return nil }
        self.wakeup = wakeup
    }

    /// Adds a message and wakes the loop.
    package func post(_ message: Message) {
        messages.withLock { $0.append(message) }
        wakeup.signal()
    }

    /// Puts messages back that were taken and are to be handled later, before those that have come
    /// since.
    package func putBack(_ taken: [Message]) {
        if taken.isEmpty { return }
        messages.withLock { $0.insert(contentsOf: taken, at: 0) }
        wakeup.signal()
    }

    /// Takes all messages, in the order in which they were posted.
    package func takeAll() -> [Message] {
        wakeup.clear()
        return messages.withLock { queue in
            let taken = queue
            queue.removeAll(keepingCapacity: true)
            return taken
        }
    }
}

/// A queue of messages that wakes no loop: its reader looks when another event has woken it.
package final class Postbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    /// Bounds the memory for messages that are not taken.
    private static var most: Int { 16_384 }

    package init() {}

    /// Adds a message. When the queue is full, drops all its messages first.
    package func post(_ message: Message) {
        messages.withLock { queue in
            if queue.count >= Postbox.most { queue.removeAll() }
            queue.append(message)
        }
    }

    /// Takes all messages, in the order in which they were posted.
    package func takeAll() -> [Message] {
        messages.withLock { queue in
            if queue.isEmpty { return [] }
            let taken = queue
            queue.removeAll(keepingCapacity: true)
            return taken
        }
    }
}

/// Watches a descriptor of another owner, for example a mailbox's wakeup.
package struct DescriptorWatch: ~Copyable {
    private let event: UnsafeMutablePointer<CLibevent.event>
    private let loop: EventLoop

    /// Calls `callback` whenever `descriptor` is readable, until the watch is dropped.
    package init(
        descriptor: Int32, loop: EventLoop, owner: UnsafeMutableRawPointer,
        callback: @escaping EventCallback
    ) {
        self.loop = loop
        event = .allocate(capacity: 1)
        event_assign(
            event, loop.base, descriptor, redpool_ev_read | redpool_ev_persist, callback, owner)
        EventLoop.add(event)
    }

    deinit {
        event_del(event)
        event.deallocate()
    }

    /// Stops watching until `resume()`.
    package func pause() {
        event_del(event)
    }

    /// Watches again.
    package func resume() {
        EventLoop.add(event)
    }
}
