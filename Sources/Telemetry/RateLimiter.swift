/// Merges repeated log events to one line per window, so that an outage under load is logged once
/// with a count, not once per command. Pure: the time is passed in.
package struct RateLimiter: Sendable {
    /// Events with equal keys are merged.
    package struct Key: Sendable, Hashable {
        /// The event's dotted name.
        package let event: String
        /// The pool's name; empty for events of the process.
        package let pool: String
        /// The reason; empty if the event has none.
        package let reason: String

        package init(event: String, pool: String = "", reason: String = "") {
            self.event = event
            self.pool = pool
            self.reason = reason
        }
    }

    /// A line that is due for events that were held back.
    package struct Summary: Sendable, Equatable {
        /// The events' common key.
        package let key: Key
        /// How many events were held back; at least 1.
        package let count: Int
        /// What the last of them said.
        package let last: Said

        package init(key: Key, count: Int, last: Said) {
            self.key = key
            self.count = count
            self.last = last
        }
    }

    /// What an event says, for people.
    package struct Said: Sendable, Equatable {
        package let text: String
        /// The cause in the words of the system or the server; empty if there is none.
        package let error: String
        /// The address of a client; empty if there is none.
        package let peer: String

        package init(_ text: String, error: String = "", peer: String = "") {
            self.text = text
            self.error = error
            self.peer = peer
        }
    }

    private struct Window {
        var start: Int64
        var held: Int
        /// What the last event that was held back said; nil if there is none.
        var last: Said?

        func summary(of key: Key) -> Summary? {
            guard held > 0, let last else { return nil }
            return Summary(key: key, count: held, last: last)
        }
    }

    private let length: Int64
    private let capacity: Int
    private var windows: [Key: Window] = [:]

    /// A limiter with windows of `window` nanoseconds that remembers at most `capacity` keys.
    package init(window: Int64 = 10_000_000_000, capacity: Int = 1024) {
        precondition(window > 0 && capacity > 0)
        length = window
        self.capacity = capacity
    }

    /// Decides whether an event at `now` is logged (nanoseconds, any origin, never decreasing).
    ///
    /// Returns nil if the event is held back. Otherwise returns the number of events that the line
    /// stands for, this one included. With `capacity` keys in open windows, events with another key
    /// are not merged.
    package mutating func record(_ key: Key, _ said: Said, now: Int64) -> Int? {
        if let window = windows[key] {
            if now - window.start < length {
                windows[key] = Window(start: window.start, held: window.held + 1, last: said)
                return nil
            }
            windows[key] = Window(start: now, held: 0)
            return window.held + 1
        }
        if windows.count >= capacity {
            windows = windows.filter { $0.value.held > 0 || now - $0.value.start < length }
        }
        if windows.count < capacity {
            windows[key] = Window(start: now, held: 0)
        }
        return 1
    }

    /// The lines that are due at `now`: one for each key whose window has ended with events held
    /// back. Call it about once a second. Keys without events are dropped.
    package mutating func due(now: Int64) -> [Summary] {
        var summaries: [Summary] = []
        for (key, window) in windows where now - window.start >= length {
            if let summary = window.summary(of: key) {
                summaries.append(summary)
                windows[key] = Window(start: now, held: 0)
            } else {
                windows[key] = nil
            }
        }
        return RateLimiter.sorted(summaries)
    }

    /// The lines for all events that are held back, whether due or not. All keys are forgotten: the
    /// next event of each is logged.
    package mutating func flush() -> [Summary] {
        defer { windows.removeAll() }
        return RateLimiter.sorted(windows.compactMap { $1.summary(of: $0) })
    }

    private static func sorted(_ summaries: [Summary]) -> [Summary] {
        summaries.sorted {
            ($0.key.event, $0.key.pool, $0.key.reason) < ($1.key.event, $1.key.pool, $1.key.reason)
        }
    }
}
