// The address of a node, as configurations, Sentinels and clusters write it.

import RESP

/// Where a node can be dialled: a numeric address or a name, and a port.
package struct NodeAddress: Hashable, Sendable, CustomStringConvertible {
    /// An IPv4 or IPv6 address or a name: 1 to 255 bytes of ASCII that can be seen. It is compared
    /// as it is written.
    package let host: [UInt8]
    /// 1 or more.
    package let port: UInt16

    /// Nil when `host` is not of that kind, or `port` is 0.
    package init?(host: [UInt8], port: UInt16) {
        guard (1...255).contains(host.count), port > 0,
            host.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        self.host = host
        self.port = port
    }

    /// Reads a host and a port as Sentinel and ROLE give them, each a text.
    init?(host: ArraySlice<UInt8>, port: ArraySlice<UInt8>) {
        guard let number = Word.integer(Array(port), in: 1...Int64(UInt16.max)) else { return nil }
        self.init(host: Array(host), port: UInt16(number))
    }

    /// The host as text.
    package var hostText: String { String(decoding: host, as: UTF8.self) }

    /// For messages: `10.0.0.1:6379`, `[::1]:6379`.
    package var description: String {
        let text = hostText
        return host.contains(UInt8(ascii: ":")) ? "[\(text)]:\(port)" : "\(text):\(port)"
    }
}
