/// Where clients connect: an element of `pools.<name>.listen`.
package enum ListenAddress: Sendable, Hashable, CustomStringConvertible {
    /// A TCP address. The host is `*` (every address of the machine, IPv4 and IPv6), a dotted IPv4
    /// address or an IPv6 address in the form of RFC 5952, without brackets and without a zone;
    /// `localhost` is stored as `127.0.0.1`. The port is 1 to 65535. `isTLS`: clients speak TLS.
    case tcp(host: String, port: UInt16, isTLS: Bool = false)
    /// A unix socket. The path is absolute and at most 107 bytes.
    case unix(path: String)

    /// The address in the syntax of the configuration file.
    package var description: String {
        switch self {
        case .tcp(let host, let port, let isTLS):
            (isTLS ? "rediss://" : "") + formatTCP(host: host, port: port)
        case .unix(let path): "unix:\(path)"
        }
    }

    /// Clients speak TLS.
    package var isTLS: Bool {
        if case .tcp(_, _, true) = self { true } else { false }
    }

    /// The same place, with TLS or without; a unix socket as it is.
    package func speaking(tls: Bool) -> ListenAddress {
        guard case .tcp(let host, let port, _) = self else { return self }
        return .tcp(host: host, port: port, isTLS: tls)
    }

    /// Whether both are the same place, with or without TLS.
    package func isPlace(of other: ListenAddress) -> Bool {
        switch (self, other) {
        case (.tcp(let host, let port, _), .tcp(let otherHost, let otherPort, _)):
            host == otherHost && port == otherPort
        default: self == other
        }
    }
}

/// Where a pool's upstream is: the address part of `pools.<name>.upstream`.
package enum UpstreamAddress: Sendable, Hashable, CustomStringConvertible {
    /// A TCP address. The host is a name, a dotted IPv4 address or an IPv6 address in the form of
    /// RFC 5952 without brackets. The port is 1 to 65535.
    case tcp(host: String, port: UInt16)
    /// A unix socket. The path is absolute and at most 107 bytes.
    case unix(path: String)

    /// The address in the syntax of the configuration file.
    package var description: String {
        switch self {
        case .tcp(let host, let port): formatTCP(host: host, port: port)
        case .unix(let path): "unix:\(path)"
        }
    }
}

private func formatTCP(host: String, port: UInt16) -> String {
    host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
}
