// Plain commands that follow each other in a client's input. A pipeline is mostly such a run: they
// are found one by one, but counted and sent together.

package import RESP

/// Commands that are forwarded unchanged, one behind the other.
package struct CommandRun {
    /// The first byte behind them.
    package fileprivate(set) var end: Int
    package fileprivate(set) var count: UInt32 = 0
    package fileprivate(set) var last = Command.unknown
    /// One of them may change data.
    package fileprivate(set) var mayWrite = false

    /// A run ends with the command that makes it this long, in bytes: others have their turn.
    fileprivate static let length = 16 << 10
}

/// Where the name of the command before is. Most pipelines repeat one command, and it takes less to
/// see that a name is the same than to look it up and to judge it again.
struct RepeatedName {
    private var start = 0
    /// 0 if it is not known: no name is empty.
    private var length = 0

    init() {}

    /// The name of `frame`, whose command is `command`.
    @inline(__always)
    init(_ frame: CommandFrame, _ command: Command, in table: CommandTable) {
        guard table.isNamedByOneWord(command) else { return }
        start = frame.nameStart
        length = frame.nameLength
    }

    /// Whether `frame` is one of the same command: its name has the same bytes.
    @inline(__always)
    func isName(of frame: CommandFrame, _ bytes: Span<UInt8>) -> Bool {
        guard length > 0, frame.nameLength == length else { return false }
        for index in 0..<length
        where bytes[start &+ index] != bytes[frame.nameStart &+ index] {
            return false
        }
        return true
    }
}

extension CommandTable {
    /// The stateless commands from `start` on that are complete, allowed, and in the form that
    /// encoders write; at most `most`. A run ends before the first other command, and without
    /// `hasWrites` before one that may change data.
    package func run(
        _ bytes: Span<UInt8>, from start: Int, limits: borrowing CommandLimits, stopped: DenyList,
        most: Int, hasWrites: Bool = true
    ) -> CommandRun {
        var run = CommandRun(end: start)
        var scanner = CommandScanner()
        var name = RepeatedName()
        while run.end < bytes.count, run.end &- start < CommandRun.length, run.count < most {
            guard
                case .command(let frame) = scanner.scan(
                    bytes, frameStart: run.end, limits: limits), frame.isCanonical
            else { break }
            if !name.isName(of: frame, bytes) {
                let command = find(bytes, frame)
                guard isStateless(command), !stopped.stops(command) else { break }
                if mayWrite(command) {
                    if !hasWrites { break }
                    run.mayWrite = true
                }
                run.last = command
                name = RepeatedName(frame, command, in: self)
            }
            run.end = frame.end
            run.count &+= 1
        }
        return run
    }

    /// The same in front of a cluster: commands with one key, all in slots of one owner.
    ///
    /// - Parameter owners: for each slot the number of its owner.
    package func run(
        _ bytes: Span<UInt8>, from start: Int, limits: borrowing CommandLimits, stopped: DenyList,
        most: Int, of owner: UInt16, in owners: UnsafePointer<UInt16>
    ) -> CommandRun {
        var run = CommandRun(end: start)
        var scanner = CommandScanner()
        var name = RepeatedName()
        while run.end < bytes.count, run.end &- start < CommandRun.length, run.count < most {
            guard
                case .command(let frame) = scanner.scan(
                    bytes, frameStart: run.end, limits: limits), frame.isCanonical,
                frame.firstLength >= 0
            else { break }
            let isRepeated = name.isName(of: frame, bytes)
            let command = isRepeated ? run.last : find(bytes, frame)
            guard isRepeated || (hasOneKey(command) && !stopped.stops(command)) else { break }
            let slot = Slot.of(bytes, start: frame.firstStart, length: frame.firstLength)
            guard unsafe owners[Int(slot)] == owner else { break }
            if !isRepeated {
                if mayWrite(command) { run.mayWrite = true }
                run.last = command
                name = RepeatedName(frame, command, in: self)
            }
            run.end = frame.end
            run.count &+= 1
        }
        return run
    }
}
