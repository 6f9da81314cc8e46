import RESP
import Testing

/// A command as a client sends it, and its frame.
func framed(_ words: [[UInt8]]) throws -> (bytes: [UInt8], frame: CommandFrame) {
    var bytes: [UInt8] = []
    Encode.command(words, into: &bytes)
    var scanner = CommandScanner()
    let scan = scanner.scan(bytes.span, frameStart: 0, limits: CommandLimits())
    var frame: CommandFrame?
    if case .command(let found) = scan { frame = found }
    return (bytes, try #require(frame, "not a command: \(words)"))
}
