// The cursor of a SCAN over several servers.

import RESP

/// A cursor that a client gets: the server's own one times 4096, plus the number of the server. 0
/// is the beginning, and the end.
package struct ScanCursor: Equatable, Sendable {
    /// How many servers can be told apart.
    package static let mostNodes = 4096
    /// A server's own cursors are below this, so that a client's fit into 63 bits. They are below
    /// the number of buckets, in a cluster times 16,384 where each slot has a table of its own
    /// (Redis from 7.4 on, Valkey from 8.0 on).
    package static let limit: Int64 = 1 << 51

    /// The server's own cursor.
    package let server: Int64
    /// The number of the server.
    package let node: Int

    /// Nil when a cursor of the client cannot hold it.
    package init?(server: Int64, node: Int) {
        guard (0..<Self.limit).contains(server), (0..<Self.mostNodes).contains(node) else {
            return nil
        }
        self.server = server
        self.node = node
    }

    /// Reads what a client has sent; nil for `ERR invalid cursor`.
    package init?(_ word: [UInt8]) {
        // All that fits: `limit` times `mostNodes` is 1 more.
        guard let value = Word.integer(word, in: 0...Int64.max) else { return nil }
        server = value / Int64(Self.mostNodes)
        node = Int(value % Int64(Self.mostNodes))
    }

    /// Reads the cursor in a server's reply; nil when a cursor of the client cannot hold it.
    package init?(reply word: [UInt8], node: Int) {
        guard let server = Word.integer(word, in: 0...(Self.limit - 1)) else { return nil }
        self.init(server: server, node: node)
    }

    /// What the client gets when `node` has answered with this cursor: the next server's beginning
    /// if it is at its end, and 0 behind the last one.
    ///
    /// - Parameter nodes: the numbers of the servers that there are, in any order.
    package func next(of nodes: some Sequence<Int>) -> ScanCursor? {
        if server != 0 { return self }
        guard let following = nodes.filter({ $0 > node }).min() else { return nil }
        return ScanCursor(server: 0, node: following)
    }

    /// As the client gets it.
    package var text: [UInt8] {
        var output: [UInt8] = []
        Encode.decimal(server * Int64(Self.mostNodes) + Int64(node), into: &output)
        return output
    }
}
