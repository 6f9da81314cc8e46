import Testing

@testable import Session

private func words(_ text: String) -> [[UInt8]] {
    text.split(separator: " ", omittingEmptySubsequences: false).map { Array($0.utf8) }
}

private func text(_ words: [[UInt8]]) -> String {
    words.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
}

@Suite("Filters of CLIENT LIST, KILL and UNBLOCK")
struct ClientFiltersTests {
    @Test(
        "CLIENT LIST",
        arguments: [
            ("CLIENT LIST", true), ("CLIENT LIST TYPE normal", true),
            ("client list type PubSub", true),
            ("CLIENT LIST ID 1 2 3", true), ("CLIENT LIST ID -1", true),
            ("CLIENT LIST ID", false), ("CLIENT LIST ID 1 x", false), ("CLIENT LIST ID 01", false),
            ("CLIENT LIST ID +1", false), ("CLIENT LIST TYPE", false),
            ("CLIENT LIST TYPE other", false),
            ("CLIENT LIST TYPE normal x", false), ("CLIENT LIST USER bob", true),
            ("CLIENT LIST x", false), ("CLIENT LIST NEW x", false),
            ("CLIENT LIST MAXAGE 5 ID 1 2 TYPE normal SKIPME yes", true),
            ("CLIENT LIST ID 1 2 USER", false), ("CLIENT LIST TYPE normal TYPE other", false),
        ])
    func list(command: String, isUnderstood: Bool) {
        #expect(ListFilter(words(command)).isUnderstood == isUnderstood)
    }

    @Test("what CLIENT LIST asks for")
    func listed() {
        #expect(ListFilter(words("CLIENT LIST ID 3 5 3")).ids == [3, 5])
        #expect(ListFilter(words("CLIENT LIST TYPE slave\0x")).type == .replication)
        #expect(ListFilter(words("CLIENT LIST")).ids == nil)
        let others = ListFilter(words("CLIENT LIST ID 1 2 USER bob")).others
        #expect(others?.ids == [1, 2])
        #expect(others?.user == Array("bob".utf8))
        #expect(others?.skipsSelf == false)
        #expect(ListFilter(words("CLIENT LIST ID 1 2")).others == nil)
    }

    @Test(
        "CLIENT KILL",
        arguments: [
            ("CLIENT KILL 1.2.3.4:5", true), ("CLIENT KILL ID 5", true), ("CLIENT KILL id 0", true),
            ("CLIENT KILL ADDR a LADDR b USER u TYPE normal MAXAGE 3 SKIPME no ID 9", true),
            ("CLIENT KILL TYPE\0 pubsub", true), ("CLIENT KILL SKIPME yes\0no", true),
            ("CLIENT KILL ID 5 6 7", true), ("CLIENT KILL ID 5 6 TYPE normal", true),
            ("CLIENT KILL ID 5 x", false), ("CLIENT KILL ID 5 6 TYPE", false),
            ("CLIENT KILL ID x", false), ("CLIENT KILL ID 05", false),
            ("CLIENT KILL TYPE no", false),
            ("CLIENT KILL SKIPME maybe", false), ("CLIENT KILL MAXAGE 1.5", false),
            ("CLIENT KILL ID 5 SKIPME", false), ("CLIENT KILL NEW x", false),
            ("CLIENT KILL", false),
        ])
    func kill(command: String, isUnderstood: Bool) {
        #expect(KillFilter(words(command)).isUnderstood == isUnderstood)
    }

    @Test("whom CLIENT KILL means")
    func killed() {
        let all = KillFilter(words("CLIENT KILL ADDR a\0b USER u\0 ID 7 SKIPME NO"))
        #expect(all.address == Array("a".utf8))
        #expect(all.user == Array("u\0".utf8), "a user's name is compared whole")
        #expect(all.ids == [7])
        #expect(KillFilter(words("CLIENT KILL ID 5 6 ID 7 8")).ids == [7, 8])
        #expect(!all.skipsSelf)
        #expect(KillFilter(words("CLIENT KILL a:1")).isByAddress)
        #expect(KillFilter(words("CLIENT KILL TYPE replica")).isForServer)
        #expect(!KillFilter(words("CLIENT KILL TYPE replica NEW x")).isForServer)
    }

    @Test("a kill that is sent is meant for nobody")
    func standIns() {
        #expect(text(KillFilter.standIn(words("CLIENT KILL a:1"))) == "CLIENT KILL redpool:0")
        #expect(
            text(KillFilter.standIn(words("CLIENT KILL TYPE\0 normal")))
                == "CLIENT KILL TYPE\0 normal ADDR redpool:0")
    }

    @Test(
        "CLIENT UNBLOCK",
        arguments: [
            ("CLIENT UNBLOCK 5", 5, true, "CLIENT UNBLOCK 9"),
            ("CLIENT UNBLOCK 5 error\0", 5, true, "CLIENT UNBLOCK 9 error\0"),
            ("CLIENT UNBLOCK 5 other", 5, false, "CLIENT UNBLOCK 9 other"),
            ("CLIENT UNBLOCK 05", nil, false, "CLIENT UNBLOCK x"),
            ("CLIENT UNBLOCK +5 TIMEOUT", nil, false, "CLIENT UNBLOCK x TIMEOUT"),
            ("CLIENT UNBLOCK", nil, false, "CLIENT UNBLOCK"),
        ])
    func unblock(command: String, id: Int64?, isUnderstood: Bool, standIn: String) {
        let order = UnblockOrder(words(command))
        #expect(order.id == id)
        #expect(order.isUnderstood == isUnderstood)
        #expect(text(UnblockOrder.standIn(words(command), as: 9)) == standIn)
    }

    @Test(
        "HELLO's options",
        arguments: [
            ("HELLO 3 AUTH a b", true), ("HELLO 3 SETNAME n", true),
            ("HELLO 3 auth\0x a b SetName n", true), ("HELLO 3 AUTH a", false),
            ("HELLO 3 SETNAME", false), ("HELLO 3 AUTH a b NEW", false), ("HELLO 3 x", false),
            ("HELLO 3 AUTH a b AUTH c d", false), ("HELLO 3 SETNAME a SETNAME b", true),
            ("HELLO 3 SETNAME a\u{7f}", true), ("HELLO 3 AUTH a b SETNAME a\u{7f}", true),
        ])
    func hello(command: String, isUnderstood: Bool) {
        #expect(PendingLogin(hello: words(command)).isUnderstood == isUnderstood)
    }

    @Test("a name that the server refuses behind a login")
    func parts() {
        #expect(PendingLogin(hello: words("HELLO 3 AUTH a b SETNAME a\u{7f}")).appliesInPart)
        #expect(!PendingLogin(hello: words("HELLO 3 SETNAME a\u{7f}")).appliesInPart)
        #expect(!PendingLogin(hello: words("HELLO 3 AUTH a b SETNAME a")).appliesInPart)
    }

    @Test("what a login says")
    func logins() {
        let login = PendingLogin(hello: words("HELLO 2 SETNAME n AUTH a b NEW"))
        #expect(login.user == Array("a".utf8))
        #expect(login.password == Array("b".utf8))
        #expect(login.name == Array("n".utf8))
        #expect(login.isNameFirst)
        #expect(PendingLogin(authenticate: words("AUTH pw")).user == Array("default".utf8))
    }

    @Test(
        "the password that a user gives itself",
        arguments: [
            ("CONFIG SET requirepass pw", "pw"), ("config set a b RequirePass pw", "pw"),
            ("CONFIG SET requirepass", nil), ("CONFIG SET maxmemory 0", nil),
            ("CONFIG SET maxmemory requirepass x", nil), ("CONFIG GET requirepass pw", nil),
            ("ACL SETUSER default >pw", "pw"), ("acl setuser default on >a >pw +@all", "pw"),
            ("ACL SETUSER other >pw", nil), ("ACL SETUSER Default >pw", nil),
            ("ACL SETUSER default nopass", nil), ("ACL SETUSER default >pw OFF", nil),
            ("ACL SETUSER default >pw resetpass", nil), ("ACL SETUSER default >pw <pw", nil),
            ("ACL SETUSER default >pw <other", "pw"), ("ACL SETUSER default reset >pw", "pw"),
            ("ACL SETUSER default #0123", nil), ("ACL GETUSER default >pw", nil),
            ("ACL SETUSER default >pw !0123", nil),
        ] as [(String, String?)])
    func ownPassword(command: String, password: String?) {
        let user = Array("default".utf8)
        let login = PendingLogin(settingPassword: words(command), of: user)
        #expect(login?.password == password.map { Array($0.utf8) })
        #expect(login == nil || login?.user == user && login?.setsPassword == true)
    }

    @Test("nobody's requirepass but the default user's")
    func passwordOfDefault() {
        let other = Array("other".utf8)
        #expect(PendingLogin(settingPassword: words("CONFIG SET requirepass x"), of: other) == nil)
        #expect(PendingLogin(settingPassword: words("ACL SETUSER other >x"), of: other) != nil)
    }

    @Test("changes of identity")
    func identities() {
        #expect(IdentityChange(words("CLIENT SETNAME n")) == .name(Array("n".utf8)))
        #expect(
            IdentityChange(words("CLIENT SETINFO lib-ver\0x 1")) == .libraryVersion(Array("1".utf8))
        )
        for command in ["CLIENT SETNAME", "CLIENT SETINFO LIB x", "CLIENT SETINFO LIB-NAME x y"] {
            #expect(IdentityChange(words(command)) == nil)
        }
    }
}
