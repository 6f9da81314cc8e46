// How threads talk to a worker: messages under a mutex, and an eventfd that wakes its loop.

internal import CLibevent
internal import Glibc
internal import Synchronization

/// Wakes an event loop from any thread.
package final class Wakeup: Sendable {
    package let descriptor: Int32

    /// Nil when no descriptor is left.
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

    /// Called by the loop before it looks at what it was woken for.
    package func clear() {
        _ = redpool_eventfd_clear(descriptor)
    }
}

/// A queue of messages that any thread may fill and one loop empties.
package final class Mailbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    package let wakeup: Wakeup

    /// Nil when no descriptor is left for the wakeup.
    package init?() {
        guard let wakeup = Wakeup() else { return nil }
        self.wakeup = wakeup
    }

    /// Adds a message and wakes the loop.
    package func post(_ message: Message) {
        messages.withLock { $0.append(message) }
        wakeup.signal()
    }

    /// Takes everything that has been posted, in order.
    package func takeAll() -> [Message] {
        wakeup.clear()
        return messages.withLock { queue in
            let taken = queue
            queue.removeAll(keepingCapacity: true)
            return taken
        }
    }
}

/// A queue of messages that wakes nobody: its reader looks when something else has woken it.
package final class Postbox<Message: Sendable>: Sendable {
    private let messages = Mutex<[Message]>([])
    /// What nobody takes must not fill the memory.
    private static var most: Int { 16_384 }

    package init() {}

    /// Adds a message. When too many wait, all of them are given up.
    package func post(_ message: Message) {
        messages.withLock { queue in
            if queue.count >= Postbox.most { queue.removeAll() }
            queue.append(message)
        }
    }

    /// Takes everything that has been posted, in order.
    package func takeAll() -> [Message] {
        messages.withLock { queue in
            if queue.isEmpty { return [] }
            let taken = queue
            queue.removeAll(keepingCapacity: true)
            return taken
        }
    }
}

/// Watches a descriptor that somebody else owns, a mailbox's wakeup for instance.
package struct DescriptorWatch: ~Copyable {
    private let event: UnsafeMutablePointer<CLibevent.event>
    private let loop: EventLoop

    /// Calls `callback` whenever `descriptor` is readable, until the watch is gone.
    package init(
        descriptor: Int32, loop: EventLoop, owner: UnsafeMutableRawPointer,
        callback: @escaping EventCallback
    ) {
        self.loop = loop
        event = .allocate(capacity: 1)
        event_assign(
            event, loop.base, descriptor, redpool_ev_read | redpool_ev_persist, callback, owner)
        event_add(event, nil)
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
        event_add(event, nil)
    }
}
