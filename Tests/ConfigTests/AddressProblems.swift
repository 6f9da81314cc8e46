@testable import Config

private func listening(_ address: String) -> String {
    "pools: {main: {upstream: h:1, listen: '\(address)'}}\n"
}

private func upstream(_ address: String) -> String {
    "pools: {main: {listen: 127.0.0.1:1, upstream: '\(address)'}}\n"
}

private func two(_ first: String, _ other: String) -> String {
    "pools:\n  a: {upstream: h:1, listen: '\(first)'}\n  b: {upstream: h:1, listen: '\(other)'}\n"
}

private func loop(_ listen: String, _ upstream: String) -> String {
    "pools: {a: {listen: '\(listen)', upstream: '\(upstream)', allowUnauthenticated: true}}\n"
}

extension ProblemsTests {
    static let addresses = listeners + upstreams + conflicts

    private static let listeners = [
        Golden(
            listening("6380"),
            "1:39: pools.main.listen: 6380 has no host (did you mean 127.0.0.1:6380?)"),
        Golden(
            listening(":6380"),
            "1:39: pools.main.listen: :6380 has no host (did you mean 127.0.0.1:6380?)"),
        Golden(
            listening("127.0.0.1:0"), "1:39: pools.main.listen: 0 is not a port (1 to 65535)"),
        Golden(
            listening("127.0.0.1:65536"),
            "1:39: pools.main.listen: 65536 is not a port (1 to 65535)"),
        Golden(
            listening("127.0.0.1:+1"), "1:39: pools.main.listen: +1 is not a port (1 to 65535)"),
        Golden(
            listening("::1:6380"),
            "1:39: pools.main.listen: ::1:6380: an IPv6 address needs brackets ([::1]:6380)"),
        Golden(
            listening("[::1:6380"), "1:39: pools.main.listen: [::1:6380 has no closing bracket"),
        Golden(
            listening("[::g]:6380"), "1:39: pools.main.listen: ::g is not an IPv6 address"),
        Golden(
            listening("[fe80::1%eth0]:6380"),
            "1:39: pools.main.listen: fe80::1%eth0 is not an IPv6 address"),
        Golden(
            listening("[::1]x"),
            "1:39: pools.main.listen: [::1]x is not an address (such as 127.0.0.1:6380)"),
        Golden(
            listening("db.example:6380"),
            "1:39: pools.main.listen: db.example:6380 has a host name "
                + "(an address to listen on is numeric, localhost or *)"),
        Golden(
            listening("127.0.0.256:6380"),
            "1:39: pools.main.listen: 127.0.0.256 is not an IPv4 address"),
        Golden(
            listening("/run/x.sock"),
            "1:39: pools.main.listen: /run/x.sock is a path (did you mean unix:/run/x.sock?)"),
        Golden(
            listening("unix:x.sock"),
            "1:39: pools.main.listen: the path of a unix socket is absolute "
                + "(did you mean unix:/x.sock?)"),
        Golden(
            listening("unix:/" + String(repeating: "x", count: 107)),
            "1:39: pools.main.listen: the path of a unix socket is at most 107 bytes, not 108"),
        Golden(
            "pools: {main: {upstream: h:1, listen: [127.0.0.1:1, x]}}\n",
            "1:53: pools.main.listen: x has no port (such as 127.0.0.1:6380)"),
        Golden(
            "pools: {main: {upstream: h:1, listen: [x, 127.0.0.1:1, [a]]}}\n",
            "1:40: pools.main.listen: x has no port (such as 127.0.0.1:6380)",
            "1:56: pools.main.listen: an address has to be text; [v6]:port needs quotes"),
        Golden(
            "pools: {main: {upstream: h:1, listen: []}}\n",
            "1:39: pools.main.listen: at least one address is needed"),
        Golden(
            "pools: {main: {upstream: h:1, listen: [[a]]}}\n",
            "1:40: pools.main.listen: an address has to be text; [v6]:port needs quotes"),
        Golden(
            "pools: {main: {upstream: h:1, listen: {a: b}}}\n",
            "1:39: pools.main.listen: has to be one value or a list, not a mapping"),
    ]

    private static let upstreams = [
        Golden(
            upstream("redis://:secret@h:1"),
            "1:47: pools.main.upstream: the URL holds a password; put it in passwordFile"),
        Golden(
            upstream("redis://app:secret@h:1"),
            "1:47: pools.main.upstream: the URL holds a password; put it in passwordFile"),
        Golden(
            upstream("app:secret@h:1"),
            "1:47: pools.main.upstream: a user or password is not part of host:port "
                + "(see username)"),
        Golden(
            upstream("rediss://:secret@h:1"),
            "1:47: pools.main.upstream: the URL holds a password; put it in passwordFile"),
        Golden(
            upstream("http://h:1"),
            "1:47: pools.main.upstream: http:// is not supported here "
                + "(host:port, rediss://host:port, unix:/path, or redis:// upstream)"),
        Golden(
            upstream("redis://h/x"),
            "1:47: pools.main.upstream: x is not a database number"),
        Golden(
            upstream("redis://h?a=b"),
            "1:47: pools.main.upstream: the URL has parameters, which are not supported"),
        Golden(
            upstream("redis://a%20b@h"),
            "1:47: pools.main.upstream: the URL's user is empty or encoded; put it in username"),
        Golden(
            upstream("redis://"),
            "1:47: pools.main.upstream: \"\" has no host (such as redis://127.0.0.1)"),
        Golden(
            upstream("a_b..c:1"),
            "1:47: pools.main.upstream: a_b..c is not a host name or address"),
        Golden(
            upstream("127.1:1"), "1:47: pools.main.upstream: 127.1 is not an IPv4 address"),
        Golden(
            upstream("0x7f000001:1"),
            "1:47: pools.main.upstream: 0x7f000001 is not an IPv4 address"),
        Golden(
            upstream("127.0.0.0X1:1"),
            "1:47: pools.main.upstream: 127.0.0.0X1 is not an IPv4 address"),
    ]

    private static let conflicts = [
        Golden(
            two("127.0.0.1:5", "localhost:5"),
            "3:30: pools.b.listen: 127.0.0.1:5 is taken by pool a (127.0.0.1:5, at line 2)"),
        Golden(
            two("*:5", "[::1]:5"),
            "3:30: pools.b.listen: [::1]:5 is taken by pool a (*:5, at line 2)"),
        Golden(
            two("10.0.0.1:5", "0.0.0.0:5"),
            "3:30: pools.b.listen: 0.0.0.0:5 is taken by pool a (10.0.0.1:5, at line 2)"),
        Golden(
            two("[::1]:5", "[0:0:0::0:1]:5"),
            "3:30: pools.b.listen: [::1]:5 is taken by pool a ([::1]:5, at line 2)"),
        Golden(
            two("unix:/a", "unix:/a"),
            "3:30: pools.b.listen: unix:/a is taken by pool a (unix:/a, at line 2)"),
        Golden(two("0.0.0.0:5", "[::]:5")),
        Golden(two("127.0.0.1:5", "127.0.0.1:6")),
        Golden(
            "pools: {a: {upstream: h:1, listen: [127.0.0.1:5, 127.0.0.1:5]}}\n",
            "1:50: pools.a.listen: 127.0.0.1:5 is taken by this pool (127.0.0.1:5, at line 1)"),
        Golden(
            loop("127.0.0.1:5", "localhost:5"),
            "1:21: pools.a.listen: 127.0.0.1:5 is the upstream of this pool: a loop"),
        Golden(
            loop("*:5", "[::1]:5"),
            "1:21: pools.a.listen: *:5 is the upstream of this pool: a loop"),
        Golden(
            loop("unix:/a", "unix:/a"),
            "1:21: pools.a.listen: unix:/a is the upstream of this pool: a loop"),
        Golden(loop("*:5", "10.0.0.1:5")),
        Golden(
            "pools:\n  a: {listen: 127.0.0.1:5, upstream: 127.0.0.1:6}\n"
                + "  b: {listen: 127.0.0.1:6, upstream: h:1}\n",
            "3:15: pools.b.listen: 127.0.0.1:6 is the upstream of pool a: a loop"),
    ]
}
