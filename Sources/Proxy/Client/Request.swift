// The command at hand.

import RESP
import Session

/// A command that has come whole, with its place in the input. It is valid only while it is being
/// handled: the input moves on behind it.
struct Request {
    let command: Command
    let frame: CommandFrame
    /// The input that `frame` speaks of.
    let input: UnsafeBufferPointer<UInt8>

    /// The command as it goes to the server.
    var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(input)[frame.start..<frame.end])
    }
}
