// Commands that took long: the last 256 of each pool on each worker. Names of commands only, never
// a key or a value.

import Config
package import Pool
import Session

/// A command that took longer than its pool's `slowLog`.
package struct SlowCommand: Sendable {
    package let pool: String
    /// When it was over.
    package let at: MonotonicTime
    /// The client, as CLIENT ID shows it.
    package let client: UInt64
    /// The client's name; empty if it has none, or has left.
    package let name: [UInt8]
    /// Nil for a command that is not in the table: what the client has sent may be a key.
    package let command: String?
    /// How many commands were sent with it in one piece.
    package let others: Int
    /// How long it waited for an upstream, in nanoseconds.
    package let wait: Int64
    /// How long it waited for its reply, in nanoseconds; nil if it was not sent.
    package let reply: Int64?
    /// Why it has no reply; empty if it has one.
    package let reason: String
}

/// How a slow command ended.
enum SlowEnd {
    case answered
    case refused(RefusedReason)
    /// Its client has left.
    case left

    var word: String {
        switch self {
        case .answered: ""
        case .refused(let reason): reason.word
        case .left: "left"
        }
    }
}

/// A long wait for an upstream that is over.
struct LongWait {
    /// In microseconds.
    let time: UInt32
    /// When it ended, which is when the command was sent.
    let since: MonotonicTime
}

/// A ring. Its memory is taken with the first slow command.
struct SlowLog {
    struct Entry {
        var at: MonotonicTime
        var client: UInt64
        var name: [UInt8] = []
        var command: Command
        var others = 0
        var wait: UInt32 = 0
        var reply: UInt32?
        var end = SlowEnd.answered
    }

    /// Commands that take this long are kept, in microseconds; `.max` for none.
    private(set) var threshold: UInt32 = .max
    private var entries: [Entry] = []
    /// The place of the next entry once the ring is full.
    private var next = 0

    static let most = 256

    /// - Parameter limit: in nanoseconds; 0 for none.
    init(limit: Int64) { setLimit(limit) }

    /// Puts another limit into force.
    mutating func setLimit(_ limit: Int64) {
        threshold = limit == 0 ? .max : SlowLog.microseconds(limit)
    }

    static func microseconds(_ nanoseconds: Int64) -> UInt32 {
        UInt32(clamping: nanoseconds / 1000)
    }

    /// Whether a wait of this many microseconds is slow.
    @inline(__always)
    func isSlow(_ microseconds: UInt32) -> Bool { microseconds >= threshold && threshold != .max }

    /// Microseconds up to which a command is not slow.
    var usual: UInt32 { threshold == .max ? .max : threshold - 1 }

    mutating func add(_ entry: Entry) {
        if entries.count < SlowLog.most {
            if entries.isEmpty { entries.reserveCapacity(SlowLog.most) }
            entries.append(entry)
            return
        }
        entries[next] = entry
        next = (next + 1) % SlowLog.most
    }

    /// Oldest first.
    func commands(of pool: String, table: CommandTable) -> [SlowCommand] {
        (entries[next...] + entries[..<next]).map { entry in
            SlowCommand(
                pool: pool, at: entry.at, client: entry.client, name: entry.name,
                command: table.info(entry.command)?.name, others: entry.others,
                wait: Int64(entry.wait) * 1000, reply: entry.reply.map { Int64($0) * 1000 },
                reason: entry.end.word)
        }
    }
}

extension UpstreamConnection {
    /// The first commands of this entry were answered after a long time.
    @inline(never)
    func noteSlow(_ entry: InFlight, _ age: UInt32, end: SlowEnd = .answered) {
        guard pool.meter.slow.isSlow(age) else { return }
        let client = worker.clients[entry.client]
        var line = SlowLog.Entry(
            at: worker.now, client: client?.serial ?? UInt64(entry.client.generation),
            command: entry.command)
        line.name = client?.session.identity.name ?? []
        line.others = Int(entry.count) - 1
        line.reply = age
        line.end = client == nil ? .left : end
        if let client {
            line.wait = client.longWait?.time ?? 0
            client.longWait = nil
        }
        pool.meter.slow.add(line)
    }

    /// The connection is lost: what has been in flight for long gets no reply from it.
    func noteSlowLost() {
        inFlight.forEach { entry in
            guard entry.client != UpstreamConnection.nobody, sole?.isBlocking != true else {
                return
            }
            noteSlow(entry, worker.clock.stamp &- entry.stamp, end: .refused(.upstream_lost))
        }
    }
}

extension ClientConnection {
    /// The wait for an upstream is over. A long one is told with the command's reply, or now if
    /// there is none.
    func noteWait(_ wait: LeaseWait, end: SlowEnd) {
        let time = SlowLog.microseconds(worker.now - wait.since)
        guard pool.meter.slow.isSlow(time) else { return }
        if case .answered = end {
            longWait = LongWait(time: time, since: worker.now)
        } else {
            addSlowWait(time, end: end)
        }
    }

    /// The reply to a command that had to wait long for its upstream has come.
    func noteWaited() {
        guard let wait = longWait else { return }
        addSlowWait(
            wait.time, reply: SlowLog.microseconds(worker.now - wait.since), end: .answered)
        longWait = nil
    }

    private func addSlowWait(_ time: UInt32, reply: UInt32? = nil, end: SlowEnd) {
        var line = SlowLog.Entry(at: worker.now, client: serial, command: lastCommand)
        line.name = session.identity.name
        line.wait = time
        line.reply = reply
        line.end = end
        pool.meter.slow.add(line)
    }
}
