import Config
import EventLoop
import TestSupport
import Testing

@testable import Proxy

@Suite("The addresses of a server's name")
struct AddressDoubtTests {
    private func address(_ port: UInt16) throws -> SocketAddress {
        try #require(SocketAddress(numericHost: "127.0.0.1", port: port))
    }

    @Test("in doubt they are looked up before the next dial, and stay if there is no answer")
    func doubt() throws {
        var names = NameResolution(.tcp(host: "redis.example", port: 6379), refresh: 0)
        #expect(names.next()?.port == nil)
        _ = names.resolved([try address(1)])
        #expect(names.next()?.port == 1)
        names.doubt()
        #expect(names.next()?.port == nil)
        _ = names.resolved([])
        #expect(names.next()?.port == 1)
        names.doubt()
        _ = names.resolved([try address(2)])
        #expect(names.next()?.port == 2)
    }

    @Test("a number is never in doubt")
    func number() throws {
        var names = NameResolution(.tcp(host: "127.0.0.1", port: 1), refresh: 0)
        names.doubt()
        #expect(names.next()?.port == 1)
    }
}
