// CLIENT PAUSE: the server holds up whatever may write, and with it everything behind on the same
// connection. A pause is believed when the server has accepted it, and until something shows that
// it is over: the server does not say so, and whoever ended it need not be a client of ours.

import Config
import EventLoop
import Pool
import RESP
import Session

/// What is known of a pause.
struct PauseBelief {
    /// It ends by itself then. Of several pauses the one that lasts longest counts.
    var end = MonotonicTime(nanoseconds: 0)
    /// It is not believed for longer unless something waits that it holds up.
    var review = MonotonicTime(nanoseconds: 0)
    /// Another one with each CLIENT PAUSE: the success of a command that was sent before that says
    /// nothing of it. Never 0.
    var number: UInt32 = 1

    /// Without a sign of the pause it is believed for so long.
    static let patience: Int64 = 60_000_000_000
}

extension PoolFront {
    /// The server has accepted a CLIENT PAUSE of so many milliseconds, or with nil a CLIENT UNPAUSE.
    func takePause(_ milliseconds: UInt32?) {
        guard let milliseconds else {
            isPaused = false
            return
        }
        let end = worker.now + .milliseconds(Int64(milliseconds))
        if !isPaused || end > pause.end { pause.end = end }
        pause.review = worker.now + PauseBelief.patience
        pause.number = pause.number == .max ? 1 : pause.number + 1
        isPaused = true
    }

    /// A command has been carried out that was sent during the pause `number`, and that the pause
    /// would have held up.
    func disprovePause(_ number: UInt32) {
        if number == pause.number { isPaused = false }
    }

    /// Called with every tick.
    func judgePause() {
        guard isPaused else { return }
        if worker.now >= pause.end {
            isPaused = false
        } else if worker.now >= pause.review {
            isPaused = server.allUpstreams.contains { $0.isHeldUp }
            pause.review = worker.now + PauseBelief.patience
        }
    }
}

extension UpstreamConnection {
    /// The command that is to be answered next is one that a pause holds up.
    fileprivate var isHeldUp: Bool {
        guard !inFlight.isEmpty else { return false }
        let next = inFlight.first
        return next.expectation == .heldUp || (next.expectation == .write && next.value != 0)
    }

    /// The server has accepted a CLIENT PAUSE of so many milliseconds, or a CLIENT UNPAUSE: all
    /// workers of the pool are to know.
    func notePause(_ expectation: Expectation, _ milliseconds: UInt32) {
        guard isOfThisServer else { return }
        let length = expectation == .unpause ? nil : milliseconds
        pool.takePause(length)
        for other in pool.otherWorkers {
            worker.group.mailboxes[other].post(.pause(pool: pool.config.name, milliseconds: length))
        }
    }
}

extension ClientConnection {
    /// What may be held up goes alone: nobody is behind it, and it goes with its client, as on a
    /// direct connection. Where too many are pinned already, it is put behind others of its kind.
    /// Nil for what passes. Out of line: nobody pays for it without a pause.
    @inline(never)
    func forwardPaused(_ plan: Plan, _ request: Request) -> Outcome? {
        guard worker.table.mayWrite(lastCommand) else { return nil }
        switch plan {
        case .send(.plain, _), .sendSlow: break
        case .runScript where trustsScripts: break
        default: return nil
        }
        let (expectation, value) = expectation(ofPlain: request.frame)
        let census = server.machine.census
        if census.pinned + census.waiting < pool.config.maxPinned {
            return forwardAlone(.pin, expectation, value, request.bytes, isBlocking: true)
        }
        return forward(.slow, expectation, value, request.bytes)
    }

    /// What is expected of the reply to the last command, which is relayed as it is. The success of
    /// a script says nothing of a pause: its first line may say that it does not write.
    @inline(__always)
    func expectation(ofPlain frame: CommandFrame) -> (Expectation, UInt32) {
        let isWrite = provesWrite(lastCommand, frame)
        if pool.isPaused, worker.table.mayWrite(lastCommand),
            !CommandTable.runsScript(lastCommand)
        {
            return (isWrite ? .write : .heldUp, pool.pause.number)
        }
        return (isWrite ? .write : .plain, 0)
    }
}
