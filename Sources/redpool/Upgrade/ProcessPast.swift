// What a process knows of its past. An upgrade does not begin it anew.

import EventLoop
import HandOver
import Pool
import Telemetry

/// Since when the process is there, and how many programs it has executed.
struct ProcessPast {
    let startedAt: MonotonicTime
    /// The same in nanoseconds since 1970, in whole seconds: that much is handed over.
    let startedOn: Int64
    /// How often another program has taken over.
    let upgrades: UInt32

    private static let second: Int64 = 1_000_000_000

    init(_ successor: Successor?) {
        guard let successor else {
            startedAt = MonotonicTime(nanoseconds: EventLoop.now())
            startedOn = wallClock() / ProcessPast.second * ProcessPast.second
            upgrades = 0
            return
        }
        let process = successor.file.process
        startedAt = process.startedAt
        startedOn = process.startedOn &* ProcessPast.second
        // A program that comes back has not taken over.
        upgrades = successor.failure == nil ? process.upgrades &+ 1 : process.upgrades
    }
}
