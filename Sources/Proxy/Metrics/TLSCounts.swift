// Handshakes of TLS, counted by what came of them.

import EventLoop

/// Why TLS has failed, in one word each.
package enum TLSFailure: String, CaseIterable, Sendable {
    /// The verification of the peer's certificate has failed.
    case certificate
    /// The certificate is trusted and has another name.
    case name
    /// The server wants a client certificate, and there is none, or so it seems. So does Redpool
    /// of its clients, with `listenClients: verified`.
    case clientCertificate = "client_certificate"
    /// The peer does not speak TLS.
    case notTLS = "not_tls"
    /// The handshake has not ended in time.
    case timeout
    /// The peer has closed the connection in the handshake.
    case closed
    /// Anything else, such as an alert of the peer.
    case other

    init(_ kind: TLSProblem.Kind) {
        switch kind {
        case .certificate: self = .certificate
        case .name: self = .name
        case .wantsCertificate, .seemsToWantCertificate: self = .clientCertificate
        case .notTLS: self = .notTLS
        case .other: self = .other
        }
    }
}

/// The handshakes of one side of a pool. Totals since the start.
package struct TLSCounts: Equatable, Sendable {
    /// Handshakes that succeeded, with and without a session of an earlier connection.
    package var resumed: UInt64 = 0
    package var full: UInt64 = 0
    /// One for each `TLSFailure`. A peer may refuse a connection after the handshake: then both
    /// count.
    package var failures = [UInt64](repeating: 0, count: TLSFailure.allCases.count)

    package init() {}

    package var failed: UInt64 { failures.reduce(0, +) }

    mutating func succeeded(resumed isResumed: Bool) {
        if isResumed { resumed &+= 1 } else { full &+= 1 }
    }

    mutating func count(_ failure: TLSFailure) {
        for (index, other) in TLSFailure.allCases.enumerated() where other == failure {
            failures[index] &+= 1
        }
    }

    mutating func add(_ other: TLSCounts) {
        resumed &+= other.resumed
        full &+= other.full
        for index in failures.indices { failures[index] &+= other.failures[index] }
    }
}
