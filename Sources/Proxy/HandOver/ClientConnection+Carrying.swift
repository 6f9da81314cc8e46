// Whether a client can be handed over to another program now, and what is written down of it.

import Config
import EventLoop
import HandOver
import Pool
import RESP
import Session

extension ClientConnection {
    /// How it leaves this program, if that happens now.
    var carriage: Carriage {
        if case .closing = mode { return .waits(.closing) }
        if let obstacle { return .waits(obstacle) }
        return channel.isTLS ? .departs : .carried
    }

    /// It cannot leave this program now.
    var isInTheWay: Bool {
        if case .waits = carriage { true } else { false }
    }

    private var obstacle: Obstacle? {
        if granted != nil || lists.contains(.shaking) { return .command }
        // Its listener, or its pool, is gone, and so is the client soon.
        if lists.contains(.leaving) { return .closing }
        if let found = obstacleInExtras { return found }
        if isSubscribing, awaitsHub || !pool.subscribers.isCarriable { return .hub }
        if !listening.subtracting(.isOn).isEmpty { return .halfReply }
        if channel.isTLS, !output.isEmpty { return .halfReply }
        switch mode {
        case .closing: return .closing
        case .streaming, .swallowing: return .largeCommand
        case .asking, .gathering, .preparing: return .command
        case .open, .barrier, .waiting, .loggedOut, .exclusive, .piped: break
        }
        if unfinished != nil, input.isEmpty { return .largeCommand }
        if session.login != nil { return .login }
        guard session.isCarriable, session.pendingChanges == 0 else { return .command }
        guard let upstream else { return inFlight > 0 ? .command : nil }
        if upstream.isShared { return obstacle(sharing: upstream) }
        if channel.isTLS { return isBlocked ? nil : .command }
        return upstream.obstacle
    }

    /// It has commands in flight beside those of others.
    private func obstacle(sharing upstream: UpstreamConnection) -> Obstacle? {
        let isPatient = !worker.handsOverShared
        if isPatient || channel.isTLS || pool.isRouted { return .command }
        return upstream.obstacle
    }

    private var obstacleInExtras: Obstacle? {
        guard let extras else { return nil }
        if extras.strands != nil || extras.soleRedirect != nil || extras.tour != nil
            || extras.openMulti?.isCarriable == false || extras.aside != nil
        {
            return .cluster
        }
        if extras.order != nil || extras.awaitsScripts || extras.awaitsReturn
            || extras.pipeHead != nil || extras.openFrame != nil
        {
            return .command
        }
        if extras.acceptedHello != nil || extras.lockAnswer != nil { return .login }
        if extras.monitorFilter?.isComplete == false { return .monitor }
        return session.redirection.asked != 0 ? .redirection : nil
    }

    /// What is written down of it. It can be carried.
    ///
    /// - Parameter pool: the position of its pool.
    func carried(pool: UInt32) -> CarriedClient {
        var client = CarriedClient(
            descriptor: channel.descriptor, serial: serial, pool: pool, listener: origin.listener,
            mode: carriedMode, session: session.carried,
            connectedAt: MonotonicTime(nanoseconds: origin.connectedAt),
            lastActivity: MonotonicTime(nanoseconds: lastActivity))
        client.counts = CarriedCounts(
            commands: counted.commands, bytesIn: counted.bytesIn, bytesTaken: bytesTaken)
        client.lastCommand = worker.table.info(lastCommand).map { "\($0.name)" } ?? ""
        client.hasEnded = inputEnded
        if let extras {
            client.loggedOutAt = extras.loggedOutAt
            client.hasOldInput = extras.hasOldInput
            client.isReadOnly = extras.reads.isReadOnly
            client.openMulti = extras.openMulti?.carried
            client.trackers = extras.trackers.sorted()
            if let filter = extras.monitorFilter {
                self.pool.takeOwnCommands()
                client.monitor = filter.own.carried
            }
        }
        if let recalled = upstream?.recalled {
            client.input = recalled
            // It is sent again.
            client.counts.commands &-= 1
        }
        if let bytes = input.bytes {
            client.input += UnsafeRawBufferPointer(start: bytes, count: input.count)
        }
        if !output.isEmpty { client.output = [CarriedOutput.bytes(output.copy())] }
        return client
    }

    private var carriedMode: CarriedMode {
        // Those that have blocked for the longest time are the first to block again.
        if let sole = upstream?.sole, sole.recall == .back { return .waiting(since: sole.since) }
        return switch mode {
        case .waiting(let wait): .waiting(since: wait.since)
        case .exclusive: .exclusive
        case .piped(let pipe): .piped(isOwed: pipe.isOwed, isBlind: pipe.view == .blind)
        case .loggedOut: .loggedOut
        case .closing(let reason): .closing(reason: reason.word)
        case .barrier: .barrier
        case .open, .asking, .gathering, .streaming, .swallowing, .preparing: .open
        }
    }
}

extension UpstreamConnection {
    /// Whether it can be handed over with the hub that is on it.
    func isCarriable(with hub: PushHub) -> Bool {
        stage == .ready && !channel.isTLS && output.isAllSent && inFlight.isEmpty && fence == nil
            && origin.departure == nil && !hub.frame.isSkipped
    }

    /// Why its clients cannot be handed over with it now; nil if they can.
    var obstacle: Obstacle? {
        if channel.isTLS { return sole?.recall == .back ? nil : .tls }
        guard stage == .ready, output.isAllSent, fence == nil || isShared,
            origin.departure == nil
        else { return .command }
        if piped != nil { return nil }
        if scanner.isInside || !incoming.isAtStart || sole?.messages.isAtStart == false {
            return .halfReply
        }
        switch sole?.kind {
        case .exclusive, .held, nil: break
        default: return .command
        }
        var areKnown = true
        inFlight.forEach { if !$0.isCarriable { areKnown = false } }
        return areKnown ? nil : .command
    }
}

extension InFlight {
    /// Its reply means the same to another program.
    fileprivate var isCarriable: Bool {
        switch expectation {
        case .plain, .ignored, .write, .fence: true
        default: false
        }
    }
}

extension IncomingReply {
    /// Nothing of a reply has come.
    var isAtStart: Bool {
        collected.isEmpty && !isBegunRelayed && walk == nil && !isDropping && !isErrorKept
            && !isRelaying
    }
}

extension MessageRelay {
    /// Nothing of a message has come.
    fileprivate var isAtStart: Bool { !isInside && line == nil && !isPlusKept }
}
