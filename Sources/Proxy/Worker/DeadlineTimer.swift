// The timer for a deadline that comes before the next tick.

import EventLoop
import Pool

/// Wakes the worker at a pool's earliest deadline if that comes before the next tick.
final class DeadlineTimer {
    private let timer: Timer
    var armed: MonotonicTime?

    init(loop: EventLoop, owner: UnsafeMutableRawPointer) {
        timer = Timer(loop: loop, owner: owner, callback: deadlineReached)
    }

    func arm(_ deadline: MonotonicTime) {
        if let armed, armed <= deadline { return }
        armed = deadline
        timer.start(at: deadline.nanoseconds)
    }
}

private func deadlineReached(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Server>.fromOpaque(owner).takeUnretainedValue().deadlinePassed()
}
