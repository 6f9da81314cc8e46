// A worker stands still for an upgrade. It stops reading its clients, goes on with its upstreams
// until nothing of its clients is in a state that cannot be written down, writes everything down,
// and waits: another program takes over, or it goes on as if nothing had happened.

import EventLoop
import HandOver
import Pool
import Session

extension Worker {
    /// The main thread has ordered it.
    func begin(_ order: FreezeOrder) {
        guard let until = order.until else {
            return order.answer(index, .snapshot(writeDown()))
        }
        acceptor?.accepts(false)
        clients.forEach { $0.freeze() }
        updateNow()
        let patientUntil = MonotonicTime(
            nanoseconds: now.nanoseconds + max(0, until - now) / 2)
        orders.freezing = Freezing(
            order: order, missing: clients.all.map(\.id), patientUntil: patientUntil)
        let me = Unmanaged.passUnretained(self).toOpaque()
        orders.freezeTimers = [patientUntil, until].map {
            FreezeTimer(loop: loop, owner: me, at: $0)
        }
    }

    /// Upstreams that several clients share are handed over with what they owe.
    var handsOverShared: Bool { orders.freezing.map { now >= $0.patientUntil } ?? false }

    /// Called at the end of each turn while the worker is to stand still. True: the end of the turn
    /// has work again, and no event would bring the next one: clients were closed, commands are
    /// recalled, or the worker goes on.
    func continueFreeze() -> Bool {
        guard var freezing = orders.freezing, let until = freezing.order.until, isIdle else {
            return false
        }
        freezing.missing.removeAll { id in
            guard let client = clients[id] else { return true }
            switch client.carriage {
            // Its end must be read.
            case .waits(.largeCommand): client.thaw()
            case .waits, .carried, .departs: client.freeze()
            }
            return !client.isInTheWay
        }
        if freezing.missing.isEmpty {
            // Who was not in the way has perhaps begun the next command of its input since.
            freezing.missing = clients.all.filter(\.isInTheWay).map(\.id)
        }
        orders.freezing = freezing
        updateNow()
        let isOver = now >= until
        if freezing.missing.isEmpty, areUpstreamsWritten || (isOver && freezing.order.isLast) {
            stand(freezing)
            return true
        }
        guard isOver else { return recallBlocked(freezing) }
        guard freezing.order.cuts else {
            // Who would have been recalled is not what has stood in the way.
            let others = freezing.missing.filter { !isRecalled($0) }
            let obstacles = obstacles(others.isEmpty ? freezing.missing : others)
            endFreeze()
            freezing.order.answer(index, .obstacles(obstacles))
            return true
        }
        orders.freezing?.cut.merge(obstacles(freezing.missing)) { $0 + $1 }
        for id in freezing.missing { clients[id]?.close(.upgrade) }
        // What that means for upstreams is settled before the next look.
        for pool in pools { pool.forEachServer { $0.noteWork() } }
        orders.freezing?.missing = []
        return true
    }

    private func obstacles(_ missing: [SlotID]) -> [Obstacle: Int] {
        var counts: [Obstacle: Int] = [:]
        for id in missing {
            if case .waits(let obstacle)? = clients[id]?.carriage {
                counts[obstacle, default: 0] += 1
            }
        }
        return counts
    }

    /// What clients have sent is at the kernel, also of those that have left.
    private var areUpstreamsWritten: Bool {
        pools.allSatisfy { pool in
            pool.servers.allSatisfy { server in
                server.allUpstreams.allSatisfy { $0.stage != .ready || $0.output.isAllSent }
            }
        }
    }

    /// Stands still until the main thread says how it goes on.
    private func stand(_ freezing: Freezing) {
        freezing.order.answer(index, .stands)
        var later: [WorkerMessage] = []
        var isStanding = true
        while isStanding {
            mailbox.wakeup.wait()
            for message in mailbox.takeAll() {
                switch message {
                case .thaw: isStanding = false
                case .writeDown(let done):
                    var frozen = FrozenCell(cell: writeDown())
                    frozen.cut = freezing.cut
                    let departing = clients.all.filter { $0.carriage == .departs }
                    for client in departing { client.close(.upgrade) }
                    frozen.departed = departing.count
                    for pool in pools { pool.forEachServer { $0.closeIdleTLS() } }
                    frozen.totals = pools.map(\.metrics)
                    done(index, frozen)
                case .stop:
                    lifecycle = .stopped
                    isStanding = false
                default: later.append(message)
                }
            }
        }
        mailbox.putBack(later)
        clock.isRead = false
        updateNow()
        endFreeze()
    }

    /// The worker goes on: an upgrade has failed, or could not begin in time.
    func endFreeze() {
        guard orders.freezing != nil else { return }
        orders.freezing = nil
        orders.freezeTimers = []
        sendRecalledAgain()
        clients.forEach { $0.thaw() }
        acceptor?.accepts(true)
    }

    // MARK: Writing down

    /// All that can be handed over at this moment.
    private func writeDown() -> CarriedCell {
        let carried = clients.all.filter { $0.carriage == .carried }
        var writer = CellWriter(self)
        for client in carried { writer.add(client) }
        writer.addShared()
        for pool in pools {
            writer.addHubs(of: pool)
            writer.addIdle(of: pool)
        }
        return writer.cell
    }
}

/// Wakes a worker at the time by which it is to stand still.
final class FreezeTimer {
    private var timer: Timer

    init(loop: EventLoop, owner: UnsafeMutableRawPointer, at time: MonotonicTime) {
        timer = Timer(loop: loop, owner: owner, callback: freezeTimeIsOver)
        timer.start(at: time.nanoseconds)
    }
}

/// The look follows at the end of the turn.
private func freezeTimeIsOver(_: Int32, _: Int16, _: UnsafeMutableRawPointer?) {}
