/// The value of the key `upstream`: an address, and the other parts of a `redis://` URL.
struct UpstreamSpec: Sendable, Equatable {
    var address: UpstreamAddress
    var username: String?
    var database = 0
    /// The URL has `rediss://` or `valkeys://`.
    var isTLS = false
}

/// Reads an address of the key `listen`.
func parseListen(_ text: String) throws(ValueProblem) -> ListenAddress {
    if let path = try parseUnix(text) { return .unix(path: path) }
    let scheme = secureSchemes.first { text.lowercased().hasPrefix($0) }
    let place = String(text.dropFirst(scheme?.count ?? 0))
    let isTLS = scheme != nil
    if isTLS {
        guard !place.contains(where: { "@/?#".contains($0) }) else {
            throw ValueProblem("an address to listen on has no user, database or parameters")
        }
    } else {
        try refuseScheme(text)
    }
    let (host, port) = try splitHostPort(
        place, defaultPort: isTLS ? 6379 : nil, example: "127.0.0.1:6380")
    if host == "*" { return .tcp(host: host, port: port, isTLS: isTLS) }
    if host.lowercased() == "localhost" {
        return .tcp(host: "127.0.0.1", port: port, isTLS: isTLS)
    }
    let name = try checkHost(host, bracketed: place.hasPrefix("["))
    guard name.utf8.contains(UInt8(ascii: ":")) || isIPv4(name) else {
        throw ValueProblem(
            "\(shown(place)) has a host name (an address to listen on is numeric, localhost or *)")
    }
    return .tcp(host: name, port: port, isTLS: isTLS)
}

/// What an address with TLS begins with.
private let secureSchemes = ["rediss://", "valkeys://"]

/// Reads the value of the key `upstream`.
func parseUpstream(_ text: String) throws(ValueProblem) -> UpstreamSpec {
    if let path = try parseUnix(text) { return UpstreamSpec(address: .unix(path: path)) }
    let lower = text.lowercased()
    for (scheme, isTLS) in [("redis://", false), ("rediss://", true), ("valkeys://", true)]
    where lower.hasPrefix(scheme) {
        var spec = try parseURL(text.dropFirst(scheme.count), whole: text)
        spec.isTLS = isTLS
        return spec
    }
    try refuseScheme(text)
    if text.utf8.contains(UInt8(ascii: "@")) {
        throw ValueProblem("a user or password is not part of host:port (see username)")
    }
    let (host, port) = try splitHostPort(text, defaultPort: nil, example: "127.0.0.1:6379")
    let name = try checkHost(host, bracketed: text.hasPrefix("["))
    return UpstreamSpec(address: .tcp(host: name, port: port))
}

/// Reads the part after `redis://` or `rediss://`: `[user@]host[:port][/db]`. The part before the
/// `@` is never in a message, because it may be a password.
private func parseURL(_ rest: Substring, whole: String) throws(ValueProblem) -> UpstreamSpec {
    var rest = rest
    var username: String?
    if let at = rest.lastIndex(of: "@") {
        let user = rest[..<at]
        rest = rest[rest.index(after: at)...]
        if user.contains(":") {
            throw ValueProblem("the URL holds a password; put it in passwordFile")
        }
        guard !user.isEmpty, !user.contains("%"), !user.contains(where: \.isWhitespace) else {
            throw ValueProblem("the URL's user is empty or encoded; put it in username")
        }
        username = String(user)
    }
    if rest.contains(where: { $0 == "?" || $0 == "#" }) {
        throw ValueProblem("the URL has parameters, which are not supported")
    }
    var database = 0
    if let slash = rest.firstIndex(of: "/") {
        let digits = rest[rest.index(after: slash)...]
        rest = rest[..<slash]
        if !digits.isEmpty {
            guard isDigits(digits), let number = Int32(digits) else {
                throw ValueProblem("\(shown(digits)) is not a database number")
            }
            database = Int(number)
        }
    }
    let text = String(rest)
    let (host, port) = try splitHostPort(text, defaultPort: 6379, example: "redis://127.0.0.1")
    let name = try checkHost(host, bracketed: text.hasPrefix("["))
    return UpstreamSpec(
        address: .tcp(host: name, port: port), username: username, database: database)
}

/// Reads `unix:/path`; nil for any other text.
private func parseUnix(_ text: String) throws(ValueProblem) -> String? {
    guard text.lowercased().hasPrefix("unix:") else {
        if text.hasPrefix("/") {
            throw ValueProblem("\(shown(text)) is a path (did you mean unix:\(shown(text))?)")
        }
        return nil
    }
    let path = String(text.dropFirst(5))
    guard path.hasPrefix("/"), !path.hasPrefix("//"), path.utf8.count > 1 else {
        let name = path.drop { $0 == "/" }
        throw ValueProblem(
            "the path of a unix socket is absolute (did you mean unix:/\(shown(String(name)))?)")
    }
    // `sun_path` has 108 bytes with its terminating zero (unix(7)).
    guard path.utf8.count <= 107 else {
        throw ValueProblem("the path of a unix socket is at most 107 bytes, not \(path.utf8.count)")
    }
    guard !hasControl(path) else {
        throw ValueProblem("the path of a unix socket has a control character")
    }
    return path
}

private func refuseScheme(_ text: String) throws(ValueProblem) {
    guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else { return }
    let scheme = text[..<colon].lowercased()
    throw ValueProblem(
        "\(shown(scheme)):// is not supported here "
            + "(host:port, rediss://host:port, unix:/path, or redis:// upstream)")
}

/// Splits `host:port` or `[v6]:port`. Without a default, the port is required.
func splitHostPort(
    _ text: String, defaultPort: UInt16?, example: String
) throws(ValueProblem) -> (host: String, port: UInt16) {
    var host = text[...]
    var digits: Substring?
    if text.hasPrefix("[") {
        guard let close = text.firstIndex(of: "]") else {
            throw ValueProblem("\(shown(text)) has no closing bracket")
        }
        host = text[text.index(after: text.startIndex)..<close]
        let rest = text[text.index(after: close)...]
        guard rest.isEmpty || rest.hasPrefix(":") else {
            throw ValueProblem("\(shown(text)) is not an address (such as \(example))")
        }
        if !rest.isEmpty { digits = rest.dropFirst() }
    } else if let colon = text.lastIndex(of: ":") {
        host = text[..<colon]
        digits = text[text.index(after: colon)...]
        if host.contains(":") {
            throw ValueProblem("\(shown(text)): an IPv6 address needs brackets ([::1]:6380)")
        }
    }
    guard !host.isEmpty else {
        throw ValueProblem("\(shown(text)) has no host\(hostHint(digits, example))")
    }
    guard let digits else {
        guard let defaultPort else {
            if isPort(host) {
                throw ValueProblem("\(shown(text)) has no host\(hostHint(host, example))")
            }
            throw ValueProblem("\(shown(text)) has no port (such as \(example))")
        }
        return (String(host), defaultPort)
    }
    guard isPort(digits), let port = UInt16(digits) else {
        throw ValueProblem("\(shown(digits)) is not a port (1 to 65535)")
    }
    return (String(host), port)
}

private func isPort(_ text: Substring) -> Bool {
    isDigits(text) && UInt16(text).map { $0 > 0 } == true
}

/// For an address of which only the port was written: the same port of this machine.
private func hostHint(_ port: Substring?, _ example: String) -> String {
    guard let port, isPort(port) else { return " (such as \(example))" }
    return " (did you mean 127.0.0.1:\(port)?)"
}

/// The host in a canonical form, so that equal hosts are equal text; throws if the text is not a
/// host.
func checkHost(_ host: String, bracketed: Bool) throws(ValueProblem) -> String {
    if bracketed {
        guard let address = canonicalIPv6(host) else {
            throw ValueProblem("\(shown(host)) is not an IPv6 address")
        }
        return address
    }
    if isIPv4(host) { return host }
    let labels = host.split(separator: ".", omittingEmptySubsequences: false)
    // getaddrinfo would take a name whose last label is a number for an IPv4 address: one in
    // hexadecimal too (inet_aton(3)).
    if let last = labels.last, isDigits(last) || isHexadecimal(last) {
        throw ValueProblem("\(shown(host)) is not an IPv4 address")
    }
    let isName = labels.allSatisfy { label in
        (1...63).contains(label.utf8.count) && label.utf8.allSatisfy(isNameByte)
    }
    guard isName, host.utf8.count <= 253 else {
        throw ValueProblem("\(shown(host)) is not a host name or address")
    }
    return host.lowercased()
}

private func isHexadecimal(_ label: Substring) -> Bool {
    label.lowercased().hasPrefix("0x") && label.dropFirst(2).allSatisfy(\.isHexDigit)
}

private func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
        true
    default: false
    }
}

/// Whether the text has a character that no path, user or group has.
func hasControl(_ text: String) -> Bool {
    text.unicodeScalars.contains { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }
}

/// Whether the text is four decimal numbers up to 255 without leading zeros.
func isIPv4(_ text: String) -> Bool {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    return parts.count == 4
        && parts.allSatisfy { part in
            isDigits(part) && UInt8(part) != nil && (part.count == 1 || !part.hasPrefix("0"))
        }
}
