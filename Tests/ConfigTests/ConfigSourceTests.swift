import Testing

@testable import Config

@Suite struct ConfigSourceTests {
    private let text = """
        defaults:
          maxOpen: 8
        pools:
          main:
            listen: [127.0.0.1:1, unix:/a]
            upstream: redis://app@h:1
            passwordFile: /pw
        drainTimeout: 7s
        admin: {socket: /run/a.sock}
        """

    private func rows() -> [String: ConfigSource.Row] {
        let rows = ConfigSource(file: "f.yaml", text: text).rows
        return Dictionary(rows.map { ($0.key, $0) }) { first, _ in first }
    }

    @Test func eachKeyHasARowWithItsSection() {
        let keys = ConfigSource(file: "f.yaml", text: text).rows.map(\.key)
        #expect(keys.count == Schema.keys.count && Set(keys).count == keys.count)
        #expect(keys.first == "pools.main.listen")
        for key in ["threads", "log.level", "admin.mode"] { #expect(keys.contains(key)) }
    }

    @Test func valuesHaveTheirPlaces() {
        let rows = rows()
        #expect(rows["pools.main.listen"]?.value == "127.0.0.1:1, unix:/a")
        #expect(rows["pools.main.listen"]?.standard == nil)
        #expect(rows["pools.main.maxOpen"]?.value == "8")
        #expect(rows["pools.main.maxOpen"]?.standard == "32")
        #expect(rows["pools.main.maxOpen"]?.source == "f.yaml:2")
        #expect(rows["pools.main.maxPinned"]?.value == "6")
        #expect(rows["pools.main.maxPinned"]?.source == "default")
        #expect(rows["pools.main.username"]?.value == "app")
        #expect(rows["pools.main.username"]?.source == "f.yaml:6")
        #expect(rows["drainTimeout"]?.source == "f.yaml:8")
        #expect(rows["drainTimeout"]?.change == "live")
        #expect(rows["admin.socket"]?.value == "/run/a.sock")
        #expect(rows["admin.socket"]?.change == "restart")
    }

    @Test func aSocketThatIsNotSetIsTheStandardOne() {
        let rows = ConfigSource(file: "f", text: DefaultsTests.smallest).rows
        let socket = rows.first { $0.key == "admin.socket" }
        #expect(socket?.value == AdminConfig.standardSocket && socket?.source == "default")
        #expect(socket?.standard?.contains(AdminConfig.standardSocket) == true)
    }

    @Test func aTextWithErrorsHasNoRows() {
        #expect(ConfigSource(file: "f", text: "pools: 1").rows.isEmpty)
    }

    @Test(arguments: [("10m", 600_000_000_000), ("1s500ms", 1_500_000_000), ("0s", 0)])
    func durations(text: String, nanoseconds: Int64) {
        #expect(Config.duration(text) == nanoseconds)
    }

    @Test(arguments: ["", "10", "-1s", "1y", "m"])
    func noDurations(text: String) { #expect(Config.duration(text) == nil) }

    @Test(arguments: [
        ("{}", AdminConfig(socket: nil, mode: 0o660, group: "")),
        ("", AdminConfig(socket: nil, mode: 0o660, group: "")),
        ("{socket: \"\"}", AdminConfig(socket: "", mode: 0o660, group: "")),
        (
            "{socket: /a, mode: \"0600\", group: g}",
            AdminConfig(socket: "/a", mode: 0o600, group: "g")
        ),
    ])
    func admin(section: String, expected: AdminConfig) throws {
        #expect(try valid(DefaultsTests.smallest + "\nadmin: \(section)\n").admin == expected)
    }

    @Test(arguments: [
        ("socket: a.sock", "2:17: admin.socket: a.sock is not an absolute path"),
        (
            "socket: /\(String(repeating: "x", count: 107))",
            "2:17: admin.socket: the path is longer than 107 bytes"
        ),
        ("mode: 9", "2:15: admin.mode: 9 is not a file mode (such as \"0660\")"),
        ("port: 1", "2:9: admin.port: unknown key"),
    ])
    func problemsOfAdmin(line: String, problem: String) {
        #expect(problems(DefaultsTests.smallest + "\nadmin: {\(line)}\n") == [problem])
    }

    @Test func theSocketOfAPoolIsTaken() {
        let text = "pools: {main: {listen: unix:/a, upstream: h:1}}\nadmin: {socket: /a}\n"
        #expect(problems(text) == ["2:17: admin.socket: unix:/a is taken by pool main"])
    }
}
