// CLIENT PAUSE: the server holds up whatever may write, and with it everything behind on the same
// connection.

import Config
import Pool
import RESP
import Session

extension UpstreamPool {
    /// Notes CLIENT PAUSE and UNPAUSE when they are sent. One that the server refuses costs nothing
    /// but a second connection. What is no number, or more than eleven days, is not noted.
    func notePause(_ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame) {
        switch command {
        case .clientPause:
            let milliseconds = CommandTable.argument(2, bytes, frame).flatMap { Word.number($0) }
            pausedUntil = worker.now + Int64(milliseconds ?? 0) * 1_000_000
            isPaused = true
        case .clientUnpause:
            isPaused = false
        default: break
        }
    }

    /// Called with every tick.
    func endPause() {
        if isPaused, worker.now >= pausedUntil { isPaused = false }
    }
}

extension ClientConnection {
    /// What may be held up goes alone: nobody is behind it, and it goes with its client, as on a
    /// direct connection. Where too many are pinned already, it is put behind others of its kind.
    /// Nil for what passes. Out of line: nobody pays for it without a pause.
    @inline(never)
    func forwardPaused(_ plan: Plan, _ bytes: UnsafeRawPointer, _ count: Int) -> Outcome? {
        guard worker.table.mayWrite(lastCommand) else { return nil }
        let expectation: Expectation
        let value: UInt32
        switch plan {
        case .send(let wanted, let number): (expectation, value) = (wanted, number)
        case .sendSlow: (expectation, value) = (.plain, 0)
        default: return nil
        }
        let census = pool.machine.census
        if census.pinned + census.waiting < pool.config.maxPinned {
            return forwardAlone(.pin, expectation, value, bytes, count, isBlocking: true)
        }
        return forward(.slow, expectation, value, bytes, count)
    }
}
