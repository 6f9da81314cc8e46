// A MULTI ... EXEC that has arrived complete goes over a shared upstream in one piece. Redis runs
// the commands of one connection in order, so no command of another client gets between.

import EventLoop
import Pool
import RESP
import Session

/// A whole transaction in the input.
struct Block {
    /// The index of EXEC.
    var execStart: Int
    /// The index behind EXEC.
    var end: Int
    /// The number of commands between MULTI and EXEC.
    var members: Int

    /// The greatest distance in bytes from MULTI to the start of a member.
    static let most = ClientConnection.inputLimit
}

extension ClientConnection {
    /// The block that begins with the MULTI in `first`. Nil if it is not complete, or if a member
    /// may not stand in a block (docs/compatibility.md has the nine conditions).
    func findBlock(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, after first: CommandFrame
    ) -> Block? {
        guard first.argumentCount == 1, session.replyMode == .on, server.facts.hasTransactions
        else { return nil }
        var ahead = CommandScanner()
        var position = first.end
        var members = 0
        let most = min(buffer.count, first.start + Block.most)
        while position < most {
            guard
                case .command(let frame) = ahead.scan(
                    buffer.span, frameStart: position, limits: limits)
            else { return nil }
            if !frame.isCanonical {
                var span = buffer.mutableSpan
                canonicalize(&span, frame: frame)
            }
            let command = worker.table.find(buffer.span, frame)
            if command == .exec {
                return Block(execStart: frame.start, end: frame.end, members: members)
            }
            guard worker.table.info(command)?.mayStandInBlock == true, command != .discard,
                !pool.denyList.refuses(command), mayRunInBlock(command, buffer.span, frame)
            else { return nil }
            members += 1
            position = frame.end
        }
        return nil
    }

    func forwardBlock(
        _ buffer: UnsafeMutableBufferPointer<UInt8>, _ first: CommandFrame, _ block: Block
    ) -> Outcome {
        let bytes = UnsafeRawBufferPointer(
            rebasing: UnsafeRawBufferPointer(buffer)[first.start..<block.end])
        let outcome = forward(.shared, .block, 0, bytes, kept: block.execStart - first.start)
        guard outcome == .sent, let upstream else { return outcome }
        upstream.extendBlock(id, block)
        worker.turn.spend(Turn.special + block.members)
        inFlight += UInt32(block.members) + 1
        pool.traffic.commandsShared += UInt64(block.members) + 1
        return .sent
    }
}

extension UpstreamConnection {
    /// The MULTI of a block is in flight and counted. Each member and EXEC has one more reply.
    func extendBlock(_ client: SlotID, _ block: Block) {
        inFlight.extendLast(by: UInt32(block.members))
        expect(client, .blockEnd, bytes: block.end - block.execStart)
        for _ in 0...block.members { server.machine.add(id) }
    }
}
