import EventLoop
import Glibc
import Synchronization
import TestSupport
import Testing

@Suite("Mailbox, Postbox, Wakeup and DescriptorWatch")
struct MailboxTests {
    private let loop: EventLoop

    init() throws { loop = try #require(EventLoop()) }

    private func turn(_ count: Int = 1) {
        for _ in 0..<count { #expect(loop.runOnce(waiting: false)) }
    }

    @Test("messages come in the order in which they were posted, each once")
    func order() throws {
        let mailbox = try #require(Mailbox<Int>())
        #expect(mailbox.takeAll() == [])
        for number in 0..<1000 { mailbox.post(number) }
        #expect(mailbox.takeAll() == Array(0..<1000))
        #expect(mailbox.takeAll() == [])
    }

    @Test("messages that are put back come before later ones, and wake the loop")
    func putBack() throws {
        let mailbox = try #require(Mailbox<Int>())
        for number in 0..<3 { mailbox.post(number) }
        let taken = mailbox.takeAll()
        mailbox.post(3)
        mailbox.putBack(Array(taken[1...]))
        #expect(mailbox.takeAll() == [1, 2, 3])
        mailbox.putBack([])
        mailbox.putBack([4])
        mailbox.wakeup.wait()
        #expect(mailbox.takeAll() == [4])
    }

    @Test("many posts wake the loop once, and it is not woken again for what was taken")
    func wakesOnce() throws {
        let mailbox = try #require(Mailbox<Int>())
        let counter = Counter()
        let watch = DescriptorWatch(
            descriptor: mailbox.wakeup.descriptor, loop: loop, owner: counter.pointer,
            callback: count)
        var taken: [[Int]] = []
        counter.onCall = { taken.append(mailbox.takeAll()) }
        turn()
        #expect(counter.calls == 0)
        for number in 1...3 { mailbox.post(number) }
        turn(3)
        #expect(counter.calls == 1)
        #expect(taken == [[1, 2, 3]])
        // What is posted while the mail is read comes in the next turn.
        counter.onCall = {
            taken.append(mailbox.takeAll())
            if taken.count == 2 { mailbox.post(5) }
        }
        mailbox.post(4)
        turn(3)
        #expect(taken == [[1, 2, 3], [4], [5]])
        withExtendedLifetime(watch) {}
    }

    @Test("messages of several threads all come, those of each in their order")
    func threads() throws {
        let mailbox = try #require(Mailbox<(thread: Int, number: Int)>())
        let (threads, each) = (4, 2000)
        for thread in 0..<threads {
            let error = Threads.start(name: "poster") {
                for number in 0..<each { mailbox.post((thread, number)) }
            }
            #expect(error == 0)
        }
        let counter = Counter()
        let watch = DescriptorWatch(
            descriptor: mailbox.wakeup.descriptor, loop: loop, owner: counter.pointer,
            callback: count)
        var numbers = [[Int]](repeating: [], count: threads)
        counter.onCall = {
            for message in mailbox.takeAll() { numbers[message.thread].append(message.number) }
        }
        try loop.run(until: "all messages") { numbers.allSatisfy { $0.count >= each } }
        #expect(numbers.allSatisfy { $0 == Array(0..<each) })
        withExtendedLifetime(watch) {}
    }

    @Test("a watch calls while the descriptor is readable, but not while it is paused or gone")
    func watch() throws {
        let wakeup = try #require(Wakeup())
        let counter = Counter()
        var watch: Optional = DescriptorWatch(
            descriptor: wakeup.descriptor, loop: loop, owner: counter.pointer, callback: count)
        wakeup.signal()
        wakeup.signal()
        turn(2)
        #expect(counter.calls == 2)
        wakeup.clear()
        turn()
        #expect(counter.calls == 2)
        wakeup.signal()
        watch?.pause()
        turn()
        #expect(counter.calls == 2)
        watch?.resume()
        turn()
        #expect(counter.calls == 3)
        watch = nil
        turn()
        #expect(counter.calls == 3)
    }

    @Test("a postbox keeps the order, and gives up what nobody takes")
    func postbox() {
        let box = Postbox<Int>()
        #expect(box.takeAll() == [])
        for number in 0..<3 { box.post(number) }
        #expect(box.takeAll() == [0, 1, 2])
        #expect(box.takeAll() == [])
        for number in 0..<16_384 { box.post(number) }
        box.post(-1)
        #expect(box.takeAll() == [-1])
        for number in 0..<16_384 { box.post(number) }
        #expect(box.takeAll().count == 16_384)
    }
}

@Suite("Threads")
struct ThreadTests {
    private struct Facts: Sendable {
        let name: String
        let isAnotherThread: Bool
        let isBlocked: [Bool]
    }

    private func ownName() -> String {
        let file = open("/proc/thread-self/comm", O_RDONLY)
        defer { close(file) }
        var name = [UInt8](repeating: 0, count: 32)
        let count = read(file, &name, name.count)
        return String(decoding: name.prefix(max(0, count)).prefix { $0 != 10 }, as: UTF8.self)
    }

    @Test("a thread has its name, and no signal reaches it")
    func start() throws {
        let facts = Mutex<Facts?>(nil)
        let here = pthread_self()
        let error = Threads.start(name: "some-worker") {
            var blocked = sigset_t()
            pthread_sigmask(SIG_BLOCK, nil, &blocked)
            let signals = [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE]
            let found = Facts(
                name: ownName(),
                isAnotherThread: pthread_equal(here, pthread_self()) == 0,
                isBlocked: signals.map { sigismember(&blocked, $0) == 1 })
            facts.withLock { $0 = found }
        }
        #expect(error == 0)
        try eventually("the thread has run") { facts.withLock { $0 != nil } }
        let found = try #require(facts.withLock { $0 })
        #expect(found.name == "some-worker")
        #expect(found.isAnotherThread)
        #expect(found.isBlocked.allSatisfy { $0 })
    }

    @Test("blockAll blocks the signals of its own thread only")
    func blockAll() throws {
        let isDone = Atomic(0)
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &before)
        let error = Threads.start(name: "blocks") {
            Signals.blockAll()
            isDone.store(1, ordering: .sequentiallyConsistent)
        }
        #expect(error == 0)
        try eventually("the thread has run") { isDone.load(ordering: .sequentiallyConsistent) == 1 }
        var after = sigset_t()
        pthread_sigmask(SIG_BLOCK, nil, &after)
        #expect(sigismember(&before, SIGTERM) == sigismember(&after, SIGTERM))
    }
}
