// The rule of versions: while a client has anything in flight, it sends under one map only. Under
// one map a slot has one node, so all its commands for that slot follow each other on one
// connection. When the owner of any slot changes, the client waits until it is answered.

/// The version of the map under which a client's commands in flight were sent.
package struct SentVersion: Equatable, Sendable {
    private var version: UInt64 = 0

    /// For a client that has sent nothing.
    package init() {}

    /// For a client that has sent commands under one map.
    package init(under version: UInt64) { self.version = version }

    /// Whether the client may send a command under the present map; if not, it waits until nothing
    /// of it is in flight.
    ///
    /// - Parameter inFlight: how many of its commands are not answered, those that are held
    ///   included.
    package mutating func maySend(under present: UInt64, inFlight: Int) -> Bool {
        if inFlight == 0 { version = present }
        return version == present
    }
}
