// CLIENT PAUSE: the server delays commands that may write, and so everything behind them on the
// same connection. Redpool assumes a pause from the server's acceptance until something shows that
// it is over. The server does not say so, and a client that is not connected through Redpool may
// end it.

import Config
import EventLoop
import Pool
import RESP
import Session

/// What Redpool assumes about a pause.
struct PauseBelief {
    /// When the pause ends by itself. Of several pauses, the latest end counts.
    var end = MonotonicTime(nanoseconds: 0)
    /// When to check the assumption. It is dropped then if no command waits that the pause delays.
    var review = MonotonicTime(nanoseconds: 0)
    /// Incremented with each CLIENT PAUSE. The success of a command that was sent before a pause
    /// does not disprove it. Never 0.
    var number: UInt32 = 1
    /// The `run_id` of the server that has accepted it; nil if that server does not say it.
    var runID: [UInt8]?

    /// Without evidence, a pause is assumed for this long, in nanoseconds.
    static let patience: Int64 = 60_000_000_000
}

extension PoolFront {
    /// The server with this `run_id` has accepted a CLIENT PAUSE of so many milliseconds, or, with
    /// nil, a CLIENT UNPAUSE.
    func takePause(_ milliseconds: UInt32?, of runID: [UInt8]?) {
        guard let milliseconds else {
            isPaused = false
            return
        }
        let end = worker.now + .milliseconds(Int64(milliseconds))
        if !isPaused || end > pause.end { pause.end = end }
        pause.review = worker.now + PauseBelief.patience
        pause.number = pause.number == .max ? 1 : pause.number + 1
        pause.runID = runID
        isPaused = true
    }

    /// The server with this `run_id` answers now. A pause ends only if another server has accepted
    /// it: a worker can hear of a pause before its first connection says which server it leads to.
    func judgePause(of runID: [UInt8]?) {
        if let runID, let paused = pause.runID, runID != paused { isPaused = false }
    }

    /// The server has carried out a command that was sent during pause `number` and that the pause
    /// would have delayed.
    func disprovePause(_ number: UInt32) {
        if number == pause.number { isPaused = false }
    }

    /// Called with every tick.
    func judgePause() {
        guard isPaused else { return }
        if worker.now >= pause.end {
            isPaused = false
        } else if worker.now >= pause.review {
            isPaused = allUpstreams.contains { $0.isHeldUp }
            pause.review = worker.now + PauseBelief.patience
        }
    }
}

extension UpstreamConnection {
    /// The next reply is that of a command that a pause delays.
    fileprivate var isHeldUp: Bool {
        guard !inFlight.isEmpty else { return false }
        let next = inFlight.first
        return next.expectation == .heldUp || (next.expectation == .write && next.value != 0)
    }

    /// The server has accepted a CLIENT PAUSE of so many milliseconds, or a CLIENT UNPAUSE (nil).
    /// Tells all workers of the pool.
    func notePause(_ length: UInt32?) {
        guard isOfThisServer else { return }
        let runID = server.facts.runID
        pool.takePause(length, of: runID)
        for other in pool.otherWorkers {
            worker.group.mailboxes[other].post(
                .pause(pool: pool.config.name, milliseconds: length, runID: runID))
        }
    }
}

extension ClientConnection {
    /// Sends a command that the pause may delay on an upstream of its own. No other client waits
    /// behind it, and the upstream closes with its client, as a direct connection would. If too
    /// many upstreams are pinned already, the command goes to the slow lane, behind others of its
    /// kind. Nil for a command that the pause does not delay. Not inlined, so that commands cost
    /// nothing more without a pause.
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

    /// The expectation for the reply to the last command, which is relayed unchanged. The success
    /// of a script does not disprove a pause: its first line may declare that it does not write.
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
