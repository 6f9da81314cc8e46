// `redpool upgrade`, as the program sees it that hands over: it tries the new one, has the workers
// stand still, writes down what they have, and executes the new one in its place. Lives on the main
// thread. Until the last step everything can be taken back.
//
//   idle -> rehearsing -> freezing -> (the other program), and back to idle from each with a reason

import Admin
import Config
import EventLoop
import Glibc
import HandOver
import Logging
import Pool
import Proxy

/// What the upgrade needs of the daemon.
struct UpgradeParts {
    let program: Program
    let loop: EventLoop
    let group: WorkerGroup
    let log: Logger
    let status: StatusLine
    /// The configuration in force, and the listeners.
    let settings: () -> WorkerSettings
    /// The file as it was read last.
    let source: () -> ConfigSource
    /// The same at the start.
    let first: () -> ConfigSource
    /// The listening sockets of the console and of metrics.
    let ownListeners: () -> [CarriedListener]
    /// What is known of the servers of pools with Sentinels and in front of clusters.
    let topologies: () -> [CarriedTopology]
    /// The totals of pools and programs that are gone.
    let formerTotals: () -> [PoolMetrics]
    /// Why there can be none now; nil if there can.
    let obstacle: () -> String?
    /// Stops accepting, or goes on with it.
    let accepts: (Bool) -> Void
    let past: ProcessPast
}

/// Who has asked for an upgrade.
struct UpgradeRequest {
    /// What cannot be handed over is closed.
    let cuts: Bool
    /// The connection that waits for the answer, which the other program gives.
    let caller: ConsoleCaller?
    /// Called if there is no upgrade, with the reason.
    let refused: (String) -> Void
}

/// Carries out upgrades, one at a time.
final class Upgrader {
    let parts: UpgradeParts
    let answers: Mailbox<FrozenAnswer>
    var stage = Stage.idle
    var timer: Timer?
    /// On what a program that is being tried writes.
    var watch: DescriptorWatch?
    private var mail: DescriptorWatch?
    /// How often workers have been told to say what they have: answers to an earlier order are
    /// late.
    private var orders = 0

    enum Stage {
        case idle
        case rehearsing(Rehearsal)
        case freezing(Freeze)
    }

    /// A program that is being tried.
    struct Rehearsal {
        let request: UpgradeRequest
        let began: MonotonicTime
        var cells: [Int: CarriedCell] = [:]
        var started: StartedProgram?
        var identity: Program.Identity?
        var output: [UInt8] = []
        /// How often it has been tried: another file may come meanwhile.
        var tries = 1
        /// How many clients are closed already, by what stood in the way.
        var closed: [String: Int] = [:]

        /// Another file has come.
        func again(tries: Int) -> Rehearsal {
            var again = Rehearsal(request: request, began: began)
            again.tries = tries
            again.closed = closed
            return again
        }
    }

    /// Workers that are to stand still.
    struct Freeze {
        let request: UpgradeRequest
        let began: MonotonicTime
        /// What the other program has said in the rehearsal.
        let version: String
        let identity: Program.Identity?
        let until: MonotonicTime
        /// How many clients are closed already, by what stood in the way.
        var closed: [String: Int]
        var cells: [Int: FrozenCell] = [:]
        var obstacles: [Obstacle: Int] = [:]
        var answered = 0
        var standing = 0
        /// Between two tries.
        var rests = false
        /// There is no other try.
        var isLast = false
    }

    /// What a worker has said.
    enum FrozenAnswer: Sendable {
        /// The number of the order, and that of the worker.
        case frozen(Int, Int, FreezeAnswer)
        /// All workers stand still, and one has written down what it has.
        case written(Int, FrozenCell)
    }

    /// How long the other program may take to be tried.
    static let rehearsalTime: Int64 = 10_000_000_000
    /// How long workers may stand still in one try, and how long they go on until the next.
    static let tryTime: Int64 = 100_000_000
    static let restTime: Int64 = 200_000_000
    /// How much longer a thread is waited for that did not stop in time, as on a busy machine.
    static let patience: Int64 = 1_000_000_000
    static let mostTries = 3

    init?(_ parts: UpgradeParts) {
        guard let answers = Mailbox<FrozenAnswer>() else { return nil }
        self.parts = parts
        self.answers = answers
        let me = Unmanaged.passUnretained(self).toOpaque()
        timer = Timer(loop: parts.loop, owner: me, callback: upgradeTimer)
        mail = DescriptorWatch(
            descriptor: answers.wakeup.descriptor, loop: parts.loop, owner: me,
            callback: upgradeMail)
    }

    /// An upgrade is under way: nothing else may change the process meanwhile.
    var isUnderWay: Bool { if case .idle = stage { false } else { true } }

    var now: MonotonicTime { MonotonicTime(nanoseconds: EventLoop.now()) }

    // MARK: Before

    /// Begins an upgrade. The answer comes from the other program, or from `request.refused`.
    func begin(_ request: UpgradeRequest) {
        if isUnderWay { return request.refused("an upgrade is under way") }
        if let obstacle = parts.obstacle() ?? changeOfFile() {
            parts.log.warning("\(obstacle)", metadata: ["event": "upgrade.refused"])
            return request.refused("upgrade refused: \(obstacle)")
        }
        parts.log.notice(
            "an upgrade begins",
            metadata: ["event": "upgrade.begin", "program": "\(parts.program.path)"])
        rehearse(Rehearsal(request: request, began: now))
    }

    /// What the file says must be what is in effect: an upgrade is no reload. `files` gets what the
    /// files have that it names.
    func changeOfFile(_ files: NamedFiles? = nil) -> String? {
        let source = parts.source()
        let name = source.file.split(separator: "/").last.map { String($0) } ?? source.file
        do throws(Config.FileError) {
            let (result, now) = try Config.loadWithSource(
                path: source.file, surroundings: .ofReload, files: files)
            if case .invalid(let problems) = result {
                return problems.map { $0.rendered(file: name) }.joined(separator: "; ")
            }
            let changes = source.changes(to: now)
            if changes.isEmpty { return nil }
            let keys = changes.map(\.path).joined(separator: ", ")
            return "\(name) is not what is in effect (\(keys)): reload first"
        } catch {
            return "cannot read \(source.file): \(error.message)"
        }
    }

    /// The workers say what they would hand over.
    func rehearse(_ rehearsal: Rehearsal) {
        stage = .rehearsing(rehearsal)
        timer?.start(after: Upgrader.rehearsalTime)
        order(until: nil)
    }

    /// Tells all workers to say what they have by a time, and to stand still then; see
    /// `FreezeOrder`.
    func order(until: MonotonicTime?, isLast: Bool = false, cuts: Bool = false) {
        orders += 1
        let answers = answers
        let number = orders
        let order = FreezeOrder(until: until, isLast: isLast, cuts: cuts) {
            answers.post(.frozen(number, $0, $1))
        }
        for mailbox in parts.group.mailboxes { mailbox.post(.freeze(order)) }
    }

    func readMail() {
        for message in answers.takeAll() {
            switch (message, stage) {
            case (.frozen(orders, let worker, .snapshot(let cell)), .rehearsing(var rehearsal)):
                rehearsal.cells[worker] = cell
                stage = .rehearsing(rehearsal)
                if rehearsal.cells.count == parts.group.workers { tryOut(rehearsal) }
            // Who answers when the try has been given up is thawed already.
            case (.frozen(orders, _, let said), .freezing(var freeze)) where !freeze.rests:
                freeze.answered += 1
                switch said {
                case .stands: freeze.standing += 1
                case .snapshot: break
                case .obstacles(let found): freeze.obstacles.merge(found) { $0 + $1 }
                }
                stage = .freezing(freeze)
                if freeze.answered == parts.group.workers { judge(freeze) }
            case (.written(let worker, let cell), .freezing(var freeze)):
                freeze.cells[worker] = cell
                stage = .freezing(freeze)
                guard freeze.cells.count == parts.group.workers else { continue }
                // Signals that have come are handled before the timer.
                Signals.hold()
                timer?.start(after: 0)
            default: break
            }
        }
    }

    func timeIsOver() {
        switch stage {
        case .idle: break
        case .rehearsing(let rehearsal):
            if let started = rehearsal.started {
                started.kill()
                endRehearsal(started)
                _ = started.end()
            }
            refuse(rehearsal.request, "the rehearsal of \(parts.program.path) has taken 10s")
        case .freezing(let freeze) where freeze.cells.count == parts.group.workers:
            execute(freeze)
        case .freezing(var freeze) where freeze.rests:
            freeze.rests = false
            freeze.obstacles = [:]
            self.freeze(freeze)
        case .freezing(var freeze):
            // A worker in a long turn has not even heard of it.
            freeze.obstacles[.worker] = parts.group.workers - freeze.answered
            goOnWithout(freeze)
        }
    }

    /// A drain begins: what is under way ends.
    func abandon() {
        switch stage {
        case .idle: return
        case .rehearsing(let rehearsal):
            if let started = rehearsal.started {
                started.kill()
                endRehearsal(started)
                _ = started.end()
            }
            refuse(rehearsal.request, "Redpool is to end")
        case .freezing(let freeze):
            thaw()
            refuse(freeze.request, "Redpool is to end")
        }
    }

    func refuse(_ request: UpgradeRequest, _ text: String) {
        stage = .idle
        Signals.letCome()
        parts.log.error("\(text)", metadata: ["event": "upgrade.refused"])
        request.refused("upgrade refused: \(text)")
    }
}

private func upgradeTimer(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Upgrader>.fromOpaque(owner).takeUnretainedValue().timeIsOver()
}

private func upgradeMail(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Upgrader>.fromOpaque(owner).takeUnretainedValue().readMail()
}

func rehearsalReadable(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<Upgrader>.fromOpaque(owner).takeUnretainedValue().readRehearsal()
}
