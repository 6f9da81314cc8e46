// Certificates that the tests make for themselves.

internal import Glibc
internal import TestCertificates

/// A certificate with its key, both PEM.
package struct Identity: Sendable {
    package let certificate: [UInt8]
    package let key: [UInt8]

    /// `issuer` signs it; nil for one that signs itself.
    package init(
        _ subject: String, names: String? = nil, isAuthority: Bool = false, isRSA: Bool = false,
        days: ClosedRange<Int32> = -1...1, by issuer: Identity? = nil
    ) throws {
        var made: (certificate: UnsafeMutablePointer<CChar>?, key: UnsafeMutablePointer<CChar>?)
        made = (nil, nil)
        let issuerTexts = [issuer?.certificate, issuer?.key].map { $0.map { $0 + [0] } }
        let isDone = subject.withCString { subject in
            Identity.withText(names.map { Array($0.utf8) + [0] }) { names in
                Identity.withText(issuerTexts[0]) { issuer in
                    Identity.withText(issuerTexts[1]) { issuerKey in
                        var request = test_certificate_request(
                            subject: subject, names: names, is_authority: isAuthority,
                            is_rsa: isRSA, first_day: days.lowerBound, last_day: days.upperBound,
                            issuer: issuer, issuer_key: issuerKey)
                        return test_certificate_make(&request, &made.certificate, &made.key)
                    }
                }
            }
        }
        guard isDone, let certificate = made.certificate, let key = made.key else {
            throw TestFailure("no certificate for \(subject)")
        }
        self.certificate = Array(String(cString: certificate).utf8)
        self.key = Array(String(cString: key).utf8)
        free(certificate)
        free(key)
    }

    private static func withText<Result>(
        _ text: [UInt8]?, _ body: (UnsafePointer<CChar>?) -> Result
    ) -> Result {
        guard let text else { return body(nil) }
        return text.withUnsafeBytes { body($0.assumingMemoryBound(to: CChar.self).baseAddress) }
    }

    /// An authority, and a server's certificate of it for `cache.test` and 127.0.0.1.
    package static let authority = try! Identity("authority", isAuthority: true)
    /// Signed by `authority`.
    package static let server = try! Identity(
        "server", names: "DNS:cache.test,IP:127.0.0.1", by: authority)
    /// Signed by `authority`.
    package static let rsaServer = try! Identity(
        "server", names: "DNS:cache.test", isRSA: true, by: authority)
    /// Signed by `authority`.
    package static let client = try! Identity("client", by: authority)
}
