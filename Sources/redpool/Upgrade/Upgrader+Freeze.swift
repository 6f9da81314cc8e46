// The last part of an upgrade: the workers stand still, what they have is written down, and the new
// program is executed in place of this one.

import Admin
import Config
import EventLoop
import Glibc
import HandOver
import Logging
import Pool
import Proxy

extension Upgrader {
    func freeze(_ given: Freeze) {
        var freeze = given
        let limit = MonotonicTime(nanoseconds: now.nanoseconds + Upgrader.tryTime)
        freeze.isLast = limit >= freeze.until
        stage = .freezing(freeze)
        parts.accepts(false)
        // As long again for a thread that is late: only one in a long turn is later.
        timer?.start(after: 2 * Upgrader.tryTime)
        order(until: limit, isLast: freeze.isLast, cuts: freeze.isLast && freeze.request.cuts)
    }

    /// All workers have answered.
    func judge(_ freeze: Freeze) {
        if freeze.standing == parts.group.workers {
            // Such as an operator's PAUSE. From here on workers do nothing that brings one.
            if let obstacle = parts.obstacle() {
                thaw()
                return refuse(freeze.request, obstacle)
            }
            timer?.start(at: .max)
            let answers = answers
            for mailbox in parts.group.mailboxes {
                mailbox.post(.writeDown { answers.post(.written($0, $1)) })
            }
            return
        }
        goOnWithout(freeze)
    }

    /// Not all workers stand still: they go on, until the next try.
    func goOnWithout(_ given: Freeze) {
        var freeze = given
        thaw()
        let isThreadLate = freeze.answered < parts.group.workers
        if freeze.isLast, !isThreadLate || now - freeze.until > Upgrader.patience {
            return refuse(freeze.request, cannotBeCarried(freeze))
        }
        freeze.answered = 0
        freeze.standing = 0
        freeze.rests = true
        stage = .freezing(freeze)
        timer?.start(after: Upgrader.restTime)
    }

    func cannotBeCarried(_ freeze: Freeze) -> String {
        let count = freeze.obstacles.values.reduce(0, +)
        let time = parts.settings().config.drainTimeout / 1_000_000_000
        return "\(count) client\(count == 1 ? "" : "s") cannot be carried after \(time)s "
            + "(\(Obstacle.text(of: freeze.obstacles))): repeat, or use --cut"
    }

    func thaw() {
        for mailbox in parts.group.mailboxes { mailbox.post(.thaw) }
        parts.accepts(true)
    }

    // MARK: The other program

    func writing(
        _ cells: [Int: CarriedCell], _ request: UpgradeRequest, _ began: MonotonicTime
    ) -> HandOverFile {
        let last = parts.group.lastNumbers
        var file = HandOverFile(
            process: CarriedProcess(
                version: redpoolVersion, threads: UInt32(parts.group.workers), pid: getpid(),
                startedAt: parts.past.startedAt,
                startedOn: parts.past.startedOn / 1_000_000_000, upgradeBegan: began,
                lastClient: last.client, lastUpstream: last.upstream,
                upgrades: parts.past.upgrades),
            configuration: parts.source().text)
        let first = parts.first().text
        if first != file.configuration { file.first = first }
        file.listeners = parts.settings().listeners.map { $0.carried } + parts.ownListeners()
        file.cells = cells.sorted { $0.key < $1.key }.map(\.value)
        file.topologies = parts.topologies()
        file.ticketKeys = TLSContext.ticketKeys
        if let caller = request.caller {
            file.callers = [
                CarriedCaller(
                    descriptor: caller.descriptor, protocolVersion: caller.isRESP3 ? 3 : 2,
                    cuts: request.cuts, input: caller.input)
            ]
        }
        return file
    }

    /// All workers stand still, and what cannot be handed over is gone.
    func execute(_ given: Freeze) {
        var freeze = given
        count(freeze.cells.map(\.value), in: &freeze.closed)
        // What it names, such as files of passwords, is read anew, and for the last time: whichever
        // program serves next may not depend on what becomes of it.
        let files = NamedFiles()
        if let change = changeOfFile(files) {
            thaw()
            return refuse(freeze.request, change)
        }
        guard parts.program.identity == freeze.identity else {
            thaw()
            Signals.letCome()
            var rehearsal = Rehearsal(request: freeze.request, began: freeze.began)
            rehearsal.closed = freeze.closed
            return rehearse(rehearsal.again(tries: Upgrader.mostTries))
        }
        let failure: String
        do {
            var file = writing(freeze.cells.mapValues(\.cell), freeze.request, freeze.began)
            file.process.successor = freeze.version
            file.counters += closed(freeze.closed) + totals(freeze.cells)
            file.files = files.carried
            defer { file.forgetFiles() }
            var bytes: [UInt8] = []
            defer { Secret.wipe(&bytes) }
            try file.encode(into: &bytes)
            let error = try execute(file, MemoryFile(bytes))
            failure = "cannot execute \(parts.program.path): \(error.text)"
        } catch let error as HandOverError {
            failure = error.text(reader: redpoolVersion)
        } catch {
            failure = "\((error as? SystemError)?.text ?? "\(error)")"
        }
        thaw()
        stage = .idle
        Signals.letCome()
        parts.status.ready()
        parts.log.error("\(failure)", metadata: ["event": "upgrade.failed"])
        freeze.request.refused("upgrade failed: \(failure); \(redpoolVersion) serves on")
    }

    /// The totals of all pools.
    private func totals(_ cells: [Int: FrozenCell]) -> [CarriedCounter] {
        var sums: [String: PoolMetrics] = [:]
        for metrics in parts.formerTotals() + cells.flatMap(\.value.totals) {
            sums[metrics.pool, default: PoolMetrics(pool: metrics.pool)].add(metrics)
        }
        return sums.sorted { $0.key < $1.key }.flatMap { pool, sum in
            var sum = sum
            sum.rejected = parts.group.rejected(of: pool)
            return sum.carried
        }
    }

    /// Adds the clients that were closed when the workers wrote down what they have.
    private func count(_ cells: [FrozenCell], in counts: inout [String: Int]) {
        for cell in cells {
            counts[Successor.tls, default: 0] += cell.departed
            for (obstacle, count) in cell.cut { counts[obstacle.rawValue, default: 0] += count }
        }
    }

    /// How many clients this program closes, by what stands in the way.
    private func closed(_ counts: [String: Int]) -> [CarriedCounter] {
        counts.filter { $0.value > 0 }.map { what, count in
            CarriedCounter(
                pool: nil, name: Successor.closedCounter + what, values: [UInt64(count)])
        }
    }

    /// Returns only if it fails.
    private func execute(_ file: HandOverFile, _ memory: MemoryFile) throws -> SystemError {
        let former = try Inheritance.ownProgram().get()
        let inherited = file.descriptors + [memory.descriptor, former]
        defer {
            _ = Inheritance.clear()
            memory.wipeAndClose()
            close(former)
        }
        if let error = Inheritance.clear() { return error }
        for descriptor in inherited {
            if let error = Inheritance.set(descriptor, true) { return error }
        }
        parts.status.reloading()
        return parts.program.execute(HandOverOrder(file: memory.descriptor, former: former))
    }
}

extension NamedFiles {
    /// As it is handed over.
    fileprivate var carried: [CarriedContents] {
        contents.map { CarriedContents(path: $0.key, bytes: $0.value?.bytes) }
    }
}

extension HandOverFile {
    /// Overwrites what files have, unless something else refers to it.
    mutating func forgetFiles() {
        for index in files.indices where files[index].bytes != nil {
            Secret.wipe(&files[index].bytes!)
        }
        files = []
    }

    /// All descriptors that it names.
    var descriptors: [Int32] {
        listeners.map(\.descriptor) + callers.map(\.descriptor)
            + cells.flatMap { $0.clients.map(\.descriptor) + $0.upstreams.map(\.descriptor) }
    }
}
