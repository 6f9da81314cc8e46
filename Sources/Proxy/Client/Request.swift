// The command that is being handled.

import RESP
import Session

/// A complete command with its place in the input. It is valid only while it is being handled,
/// because the input buffer moves on.
struct Request {
    let command: Command
    let frame: CommandFrame
    /// The input that `frame` points into.
    let input: UnsafeBufferPointer<UInt8>

    /// The command as it is sent to the server.
    var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(input)[frame.start..<frame.end])
    }
}
