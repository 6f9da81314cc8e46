import Glibc
import Pool

// Threads that run one at a time, and change where a test says so: between any two atomic steps of
// what they share.

/// Where running threads are interrupted, counted in steps from the start of a run.
enum Preemption {
    /// Before these steps, in ascending order.
    case at([Int])
    /// Before that many of a hundred steps.
    case often(percent: Int)
}

/// Runs `count` threads, of which one has the baton. A thread that sleeps is not given it.
final class Interleaver: @unchecked Sendable {
    private let batons: [Baton]
    private var threads: [pthread_t] = []
    private var isAwake: [Bool]
    private var isOver = false
    private var current = -1
    private var preemption: Preemption
    private var nextPoint = 0
    private var random: SeededRandom
    private let body: (_ thread: Int) -> Void
    /// Steps since the start.
    private(set) var steps = 0

    /// - Parameter body: runs on a thread when it has been woken; when it returns, the thread
    ///   sleeps.
    init(
        _ count: Int, _ preemption: Preemption, seed: UInt64,
        body: @escaping (_ thread: Int) -> Void
    ) {
        self.preemption = preemption
        self.body = body
        random = SeededRandom(seed: seed)
        // The last is that of the thread that has made this.
        batons = (0...count).map { _ in Baton() }
        isAwake = Array(repeating: false, count: count)
        for index in 0..<count { threads.append(start(index)) }
    }

    private func start(_ index: Int) -> pthread_t {
        let job = Unmanaged.passRetained(Job { [unowned self] in run(index) }).toOpaque()
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { job in
                Unmanaged<Job>.fromOpaque(job!).takeRetainedValue().body()
                return nil
            }, job)
        precondition(result == 0, "no thread")
        return thread
    }

    private func run(_ index: Int) {
        batons[index].wait()
        while !isOver {
            body(index)
            isAwake[index] = false
            current = isAwake.indices.filter { isAwake[$0] }.first ?? -1
            batons[current < 0 ? isAwake.count : current].pass()
            batons[index].wait()
        }
    }

    func wake(_ thread: Int) { isAwake[thread] = true }

    /// Called by the maker: lets those that are awake run until all sleep.
    func runUntilAllSleep() {
        let awake = isAwake.indices.filter { isAwake[$0] }
        guard !awake.isEmpty else { return }
        current = awake[random.below(awake.count)]
        batons[current].pass()
        batons[isAwake.count].wait()
    }

    /// Called by the maker, when all sleep: no thread is left.
    func end() {
        isOver = true
        for index in threads.indices {
            batons[index].pass()
            pthread_join(threads[index], nil)
        }
    }

    /// The running thread is about to do what others see.
    func step() {
        guard current >= 0 else { return }
        steps += 1
        guard isInterrupted() else { return }
        let me = current
        let others = isAwake.indices.filter { isAwake[$0] && $0 != me }
        guard !others.isEmpty else { return }
        current = others[random.below(others.count)]
        batons[current].pass()
        batons[me].wait()
    }

    private func isInterrupted() -> Bool {
        switch preemption {
        case .often(let percent): return random.chance(percent)
        case .at(let points):
            guard nextPoint < points.count, points[nextPoint] <= steps else { return false }
            nextPoint += 1
            return true
        }
    }
}

private final class Job {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
}

/// Whoever waits for it sleeps until somebody passes it.
private final class Baton {
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    init() { sem_init(semaphore, 0, 0) }

    deinit {
        sem_destroy(semaphore)
        semaphore.deallocate()
    }

    func pass() { sem_post(semaphore) }

    func wait() { while sem_wait(semaphore) != 0 {} }
}

/// A number whose every step may be the last of its thread for a while.
final class SteppedCell: PermitCell, @unchecked Sendable {
    private var value: Int
    private let step: () -> Void

    init(_ value: Int, step: @escaping () -> Void) {
        self.value = value
        self.step = step
    }

    func load() -> Int {
        step()
        return value
    }

    func store(_ value: Int) {
        step()
        self.value = value
    }

    func compareExchange(expected: Int, desired: Int) -> Int {
        step()
        defer { if value == expected { value = desired } }
        return value
    }
}
