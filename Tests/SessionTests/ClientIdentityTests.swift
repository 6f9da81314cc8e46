import Testing

import enum Session.Expectation

@testable import Session

private func utf8(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite("Identity of a client")
struct ClientIdentityTests {
    @Test("changes take effect one by one")
    func take() throws {
        var identity = ClientIdentity()
        for change in [
            ["client", "setname", "web"], ["client", "setinfo", "lib-name", "redis-py"],
            ["client", "setinfo", "LIB-VER", "5"],
        ] {
            let change = try #require(IdentityChange(change.map(utf8)))
            identity.take(change)
            #expect(change.size >= 64)
        }
        #expect(
            identity
                == ClientIdentity(
                    name: utf8("web"), libraryName: utf8("redis-py"), libraryVersion: utf8("5")))
        #expect(identity.size == 12)
    }

    @Test("what a passing client has left behind is equal to nobody's")
    func taint() {
        var identity = ClientIdentity(name: utf8("web"), libraryName: utf8("x"))
        identity.taint(.mirrorName)
        #expect(identity.name == utf8(" "))
        #expect(identity.libraryName == utf8("x"))
        identity.taint(.mirrorInfo)
        #expect(identity.libraryName == utf8(" "))
        #expect(identity.libraryVersion == utf8(" "))
    }
}
