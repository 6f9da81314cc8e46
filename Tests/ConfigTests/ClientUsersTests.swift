import Testing

@testable import Config

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func users(_ lines: String) -> (users: ClientUsers, problems: [String]) {
    var users = ClientUsers()
    let problems = users.read(lines: bytes(lines))
    return (users, problems.map { "\($0.line): \($0.message)" })
}

@Suite struct ClientUsersTests {
    /// The examples of FIPS 180-4 and lengths around the ends of blocks.
    @Test func digests() {
        let known = [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
            ),
            (
                String(repeating: "a", count: 55),
                "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"
            ),
            (
                String(repeating: "a", count: 64),
                "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"
            ),
            (
                String(repeating: "a", count: 1_000),
                "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"
            ),
        ]
        for (text, digits) in known {
            #expect(Digest(of: bytes(text)) == Digest(hexadecimal: bytes(digits)[...]))
        }
        #expect(Digest(of: bytes("a")) != Digest(of: bytes("b")))
        #expect(Digest(hexadecimal: bytes(String(repeating: "g", count: 64))[...]) == nil)
        #expect(Digest(hexadecimal: bytes("00")[...]) == nil)
    }

    @Test func file() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        let (found, problems) = users(
            "# who may come in\n\nann  one\r\nbob\t#\(digest)\nann two\n"
                + "eve #\(digest.uppercased())")
        #expect(problems == [])
        #expect(found.count == 3)
        #expect(found.accepts(bytes("ann"), bytes("one")))
        #expect(found.accepts(bytes("ann"), bytes("two")))
        #expect(found.accepts(bytes("bob"), bytes("abc")))
        #expect(found.accepts(bytes("eve"), bytes("abc")))
        for (name, password) in [
            ("ann", "three"), ("ann", ""), ("bob", "#" + digest), ("eve", "one"), ("none", "one"),
            ("", ""), ("ann ", "one"), ("ANN", "one"), ("ann", "one\r"),
        ] {
            #expect(!found.accepts(bytes(name), bytes(password)), "\(name) \(password)")
        }
        #expect(found.has(bytes("ann")) && !found.has(bytes("none")))
    }

    @Test func problemsOfLines() {
        let (_, problems) = users(
            "ann\nbob secret word\neve #123\nok fine\n\u{1}x y\n"
                + String(repeating: "n", count: 257) + " y\nlong "
                + String(repeating: "p", count: 16_385))
        #expect(
            problems == [
                "1: has a name and no password",
                "2: has more than a name and a password; one with a blank goes in as #sha256hex",
                "3: behind # belong the 64 hexadecimal digits of a SHA-256",
                "5: the name has a control character",
                "6: the name is longer than 256 bytes",
                "7: the password is longer than 16384 bytes",
            ])
        #expect(
            users((1...9).map { "ann p\($0)\n" }.joined()).problems
                == ["9: the user has more than 8 passwords"])
        #expect(users(String(repeating: "x\n", count: 50)).problems.count == 10)
    }

    @Test func mostUsers() {
        let lines = (0...10_000).map { "u\($0) #\(String(repeating: "0", count: 64))\n" }.joined()
        #expect(users(lines).problems == ["10001: there are more than 10000 users"])
    }

    /// The digest of which no password is known is not a password of a user either.
    @Test func noDigest() {
        let (found, _) = users("ann one\nbob x\nbob y\n")
        for password in ["", "\0", String(repeating: "\0", count: 32)] {
            #expect(!found.accepts(bytes("ann"), bytes(password)))
            #expect(!found.accepts(bytes("none"), bytes(password)))
        }
    }

    private static let folder = "/etc/redpool/"

    @Test func keys() throws {
        let files = [
            ClientUsersTests.folder + "clients": "sec ret\r\nrest\n",
            ClientUsersTests.folder + "users": "ann one\n",
        ]
        let none = try valid(pool(), files: files).pools[0]
        #expect(none.clientUsers == nil)
        let one = try valid(pool("clientPasswordFile: clients"), files: files).pools[0]
        #expect(one.clientUsers?.accepts(bytes("default"), bytes("sec ret")) == true)
        #expect(one.clientUsers?.accepts(bytes("default"), bytes("sec")) == false)
        let both = try valid(
            pool("clientPasswordFile: clients", "clientUsersFile: users"), files: files
        ).pools[0]
        #expect(both.clientUsers?.count == 2)
        #expect(both.clientUsers?.accepts(bytes("ann"), bytes("one")) == true)
        #expect(!"\(both)".contains("sec ret"))
    }

    @Test func problemsOfFiles() {
        let files = [
            ClientUsersTests.folder + "users": "ann\nbob x y\n",
            ClientUsersTests.folder + "empty": "# nobody\n",
            ClientUsersTests.folder + "default": "default x\n",
            ClientUsersTests.folder + "password": "x\n",
            ClientUsersTests.folder + "line": "\nx\n",
        ]
        #expect(
            problems(pool("clientUsersFile: users"), files: files) == [
                "5:22: pools.main.clientUsersFile: /etc/redpool/users:1: "
                    + "has a name and no password",
                "5:22: pools.main.clientUsersFile: /etc/redpool/users:2: has more than a name and "
                    + "a password; one with a blank goes in as #sha256hex",
            ])
        #expect(
            problems(pool("clientUsersFile: none"), files: files) == [
                "5:22: pools.main.clientUsersFile: /etc/redpool/none: cannot be read: "
                    + "No such file or directory"
            ])
        #expect(
            problems(pool("clientUsersFile: empty"), files: files) == [
                "5:22: pools.main.clientUsersFile: /etc/redpool/empty: the file has no user"
            ])
        #expect(
            problems(pool("clientPasswordFile: line"), files: files) == [
                "5:25: pools.main.clientPasswordFile: /etc/redpool/line: its first line is empty"
            ])
        #expect(
            problems(
                pool("clientPasswordFile: password", "clientUsersFile: default"), files: files) == [
                    "6:22: pools.main.clientUsersFile: /etc/redpool/default: the file has a user "
                        + "default, whose password is in clientPasswordFile"
                ])
    }
}
