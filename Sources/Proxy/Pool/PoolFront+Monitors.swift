// Clients in MONITOR do not see the commands that Redpool itself sends. While a client monitors,
// each worker of the pool announces such a command before it sends it, so that the line can be
// recognized when it comes.

import Config
import EventLoop
import Pool
import RESP
import Session
import Synchronization

/// A command of Redpool's own.
struct OwnCommand: Sendable {
    /// The client for which the command is announced; nil for all that monitor.
    var client: SlotID?
    let address: [UInt8]
    /// The text as MONITOR prints it.
    let text: [UInt8]
    /// The server has refused it.
    var isRefused = false
}

/// Where the workers of a pool post announcements for the monitoring clients of one worker.
final class MonitorDesk: Sendable {
    /// The number of clients that monitor, or are about to.
    let watchers = Atomic<Int>(0)
    let box = Postbox<OwnCommand>()
}

/// Hides Redpool's own commands from one monitoring client.
final class MonitorFilter {
    var own = OwnCommands()
    /// The other workers post announcements as well.
    var isComplete = false
}

extension PoolGroup {
    /// True when a client of any worker monitors.
    var isMonitored: Bool { desks.contains { $0.watchers.load(ordering: .relaxed) > 0 } }
}

extension PoolFront {
    private var desk: MonitorDesk? { member.map { group.desks[$0] } }

    /// Starts the announcements for this client.
    func beginWatching(_ client: ClientConnection) -> MonitorFilter {
        takeOwnCommands()
        let filter = MonitorFilter()
        client.monitorFilter = filter
        monitors.append(client.id)
        desk?.watchers.add(1, ordering: .sequentiallyConsistent)
        noteInFlight(for: client.id, at: member)
        return filter
    }

    /// Starts the announcements for a client that monitored in a former program.
    func goOnWatching(_ client: ClientConnection, _ own: OwnCommands) {
        let filter = MonitorFilter()
        filter.own = own
        filter.isComplete = true
        client.monitorFilter = filter
        monitors.append(client.id)
        desk?.watchers.add(1, ordering: .sequentiallyConsistent)
    }

    /// Announces what is already in flight when a client begins to monitor.
    func noteInFlight(for client: SlotID, at member: Int?) {
        guard let member else { return }
        for upstream in allUpstreams {
            for bytes in upstream.ownInFlight {
                let text = OwnCommand.text(of: bytes)
                group.desks[member].box.post(
                    OwnCommand(client: client, address: upstream.monitorAddress, text: text))
            }
        }
    }

    /// Takes the announcements from the desk. Also called with every tick while a client monitors.
    func takeOwnCommands() {
        guard let desk else { return }
        forgetMonitors(desk)
        let new = desk.box.takeAll()
        for id in monitors {
            guard let filter = worker.clients[id]?.monitorFilter else { continue }
            for command in new where command.client.map({ $0 == id }) ?? true {
                if command.isRefused {
                    filter.own.refused(command.text, from: command.address)
                } else {
                    filter.own.sent(command.text, from: command.address)
                }
            }
        }
    }

    /// Drops clients that have left or no longer monitor.
    private func forgetMonitors(_ desk: MonitorDesk) {
        if monitors.allSatisfy({ worker.clients[$0]?.monitorFilter != nil }) { return }
        let before = monitors.count
        monitors.removeAll { worker.clients[$0]?.monitorFilter == nil }
        desk.watchers.subtract(before - monitors.count, ordering: .relaxed)
    }
}

extension OwnCommand {
    static func text(of bytes: [UInt8]) -> [UInt8] {
        var scanner = CommandScanner()
        guard
            case .command(let frame) = scanner.scan(
                bytes.span, frameStart: 0, limits: CommandLimits())
        else { return [] }
        return OwnCommands.text(of: CommandTable.words(bytes.span, frame))
    }
}

extension UpstreamConnection {
    /// Announces a command of Redpool's own. Call it before the command is sent.
    func noteOwn(_ bytes: [UInt8], isRefused: Bool = false) {
        // A line has at least half as many bytes as its command.
        guard bytes.count <= 2 * OwnCommands.longest else { return }
        for desk in pool.group.desks where desk.watchers.load(ordering: .relaxed) > 0 {
            desk.box.post(
                OwnCommand(
                    address: monitorAddress, text: OwnCommand.text(of: bytes),
                    isRefused: isRefused))
        }
    }

    /// A fence allocates only while a client monitors.
    func noteOwn(_ fence: Fence) {
        guard pool.group.isMonitored else { return }
        noteOwn(fence.bytes)
    }

    func sendOwn(_ bytes: [UInt8]) {
        noteOwn(bytes)
        send(bytes)
    }

    /// This connection's address as the server sees it, if nothing on the way translates addresses.
    var monitorAddress: [UInt8] {
        guard let address = SocketAddress.local(of: channel.descriptor) else { return [] }
        return address.isUnix ? OwnCommands.unix : Array(address.description.utf8)
    }

    /// Redpool's own commands in flight, except PING. Redpool cannot know whether the server has
    /// already carried out a PING; if it has, the announcement would hide a client's own PING.
    fileprivate var ownInFlight: [[UInt8]] {
        var all: [[UInt8]] = []
        if stage == .handshaking, !handshake.sent.isEmpty { all.append(handshake.sent) }
        inFlight.forEach { entry in
            switch entry.expectation {
            case .identify: all.append(UpstreamConnection.whoAmI)
            case .scriptQuestion: all.append(ScriptTrust.question)
            case .clean:
                if let bytes = cleaningCommand { all.append(bytes) }
            case .plain where entry.client == UpstreamConnection.nobody:
                all.append(renaming(identity.name))
            default: break
            }
        }
        if let fence { all.append(fence.bytes) }
        return all
    }
}

// MARK: - Lines

/// What to do with the line of MONITOR that is being relayed.
enum LineFate {
    case shown
    case hidden
    /// Kept until it can be decided.
    case kept
}

extension ClientConnection {
    /// MONITOR. Before it is sent, all workers begin to announce their own commands to this client.
    func monitor(_ request: Request) -> Outcome {
        if inFlight > 0 { return waitForReplies() }
        if !isHolding {
            guard let own = lease(.pin, key) else { return withoutLease }
            granted = Grant(upstream: own, wanted: Wanted(kind: .pin, key: key))
        }
        guard isWatching() else { return .blocked }
        let outcome =
            isHolding
            ? sendHeld(.monitor, 0, request.bytes)
            : beginHold(request, .monitor, 0)
        pool.takeOwnCommands()
        if let upstream, upstream.monitorAddress != OwnCommands.unix {
            monitorFilter?.own.forget(upstream.monitorAddress)
        }
        return outcome
    }

    /// False while the other workers are being told.
    func isWatching() -> Bool {
        let filter = monitorFilter ?? pool.beginWatching(self)
        if filter.isComplete { return true }
        guard
            askOthers(.monitoring(pool: pool.config.name, client: id.raw, of: pool.member ?? 0))
                != nil
        else { return false }
        filter.isComplete = true
        return true
    }

    /// Decides on the line that begins.
    fileprivate func fateOfLine() -> LineFate {
        if session.replyMode == .off { return .hidden }
        guard let monitorFilter else { return .shown }
        pool.takeOwnCommands()
        return monitorFilter.own.isEmpty ? .shown : .kept
    }
}

extension UpstreamConnection {
    /// Relays a line of MONITOR, or a piece of one. CLIENT REPLY OFF hides it. A line that shows a
    /// command of Redpool's own is hidden too; until that is decided the line is kept, up to the
    /// length of such a command.
    func relayLine(
        _ bytes: UnsafeRawPointer, count: Int, isComplete: Bool, to client: ClientConnection
    ) {
        let fate = sole?.messages.line ?? client.fateOfLine()
        sole?.messages.line = fate
        switch fate {
        case .shown: client.receive(bytes, count: count)
        case .hidden: break
        case .kept:
            incoming.collected.append(
                contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
            if !isComplete, incoming.collected.count <= OwnCommands.longestLine { return }
            let isOwn = isComplete && client.monitorFilter?.own.take(incoming.collected) == true
            if !isOwn { passKept(to: client) }
            incoming.collected = []
            sole?.messages.line = .shown
        }
        if isComplete { sole?.messages.line = nil }
        client.checkPace(self)
    }

    private func passKept(to client: ClientConnection) {
        incoming.collected.withUnsafeBytes { client.receive($0.baseAddress!, count: $0.count) }
    }

    /// Passes the kept beginning of a line to a client that is piped from now on.
    func passKeptLine(to client: ClientConnection) {
        if sole?.messages.isPlusKept == true {
            [UInt8(ascii: "+")].withUnsafeBytes { client.receive($0.baseAddress!, count: 1) }
        }
        guard sole?.messages.line == .kept else { return }
        passKept(to: client)
        incoming.collected = []
    }
}
