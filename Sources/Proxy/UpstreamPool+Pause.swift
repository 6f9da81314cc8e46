// CLIENT PAUSE: the server holds up whatever may write, and with it everything behind on the same
// connection.

import Config
import Pool
import RESP
import Session

extension UpstreamPool {
    /// Milliseconds of which the server makes a pause. What is longer ends, by a wall clock of after
    /// 2001, behind the last moment that 64 bits hold: Valkey refuses it, Redis 7.0 takes it for a
    /// moment of the past.
    private static let pauses: ClosedRange<Int64> = 0...(.max - 1_000_000_000_000)

    /// Notes CLIENT PAUSE and UNPAUSE when they are sent. One that the server refuses costs nothing
    /// but a second connection. Of several pauses the one that lasts longest counts.
    func notePause(_ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame) {
        switch command {
        case .clientPause:
            let word = CommandTable.argument(2, bytes, frame) ?? []
            guard let length = Word.integer(word, in: UpstreamPool.pauses) else { return }
            let end = worker.now + .milliseconds(length)
            if !isPaused || end > pausedUntil { pausedUntil = end }
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
        case .runScript where trustsScripts: (expectation, value) = (.plain, 0)
        default: return nil
        }
        let census = pool.machine.census
        if census.pinned + census.waiting < pool.config.maxPinned {
            return forwardAlone(.pin, expectation, value, bytes, count, isBlocking: true)
        }
        return forward(.slow, expectation, value, bytes, count)
    }
}
