import Config
import Pool
import TestSupport
import Testing

@testable import Proxy

@Suite("UserTable: users whose credentials the server has accepted")
struct UserTableTests {
    private func accept(
        _ table: inout UserTable, _ name: String, _ password: String, client: UInt64 = 1
    ) -> UInt32? {
        table.accepted(name: utf8(name), password: utf8(password), from: client)
    }

    private func find(_ table: UserTable, _ name: String, _ password: String) -> UInt32? {
        table.find(name: utf8(name), password: utf8(password))
    }

    @Test("user 0 is the configured one, by its name or as `default`")
    func base() {
        var table = UserTable(name: "", password: nil)
        #expect(table.name(of: 0) == utf8("default"))
        #expect(table.password(of: 0) == [])
        #expect(find(table, "default", "") == 0)
        #expect(accept(&table, "default", "") == 0)
        let named = UserTable(name: "app", password: "secret")
        #expect(find(named, "app", "secret") == 0)
        #expect(find(named, "app", "other") == nil)
        #expect(find(named, "default", "secret") == nil)
        #expect(named.name(of: 7) == [])
        #expect(named.password(of: 7) == [])
    }

    @Test("one name with one password is one user, and numbers are never used again")
    func numbers() throws {
        var table = UserTable(name: "", password: nil)
        let bob = try #require(accept(&table, "bob", "1"))
        #expect(accept(&table, "bob", "1") == bob)
        let other = try #require(accept(&table, "bob", "2"))
        let ann = try #require(accept(&table, "ann", "1"))
        #expect(Set([0, bob, other, ann]).count == 4)
        #expect(table.all(named: utf8("bob")) == [bob, other])
        #expect(table.all(named: utf8("eve")) == [])
        #expect(table.name(of: other) == utf8("bob"))
        #expect(table.password(of: other) == utf8("2"))
        table.keep([ann], now: at(1))
        #expect(find(table, "bob", "1") == nil)
        #expect(find(table, "ann", "1") == ann)
        #expect(table.all(named: utf8("bob")) == [])
        let again = try #require(accept(&table, "bob", "1"))
        #expect(![bob, other, ann].contains(again))
    }

    @Test("refused credentials are not found until the server accepts them again")
    func refused() throws {
        var table = UserTable(name: "", password: nil)
        let bob = try #require(accept(&table, "bob", "1", client: 5))
        table.refused(bob)
        #expect(find(table, "bob", "1") == nil)
        #expect(table.name(of: bob) == utf8("bob"))
        #expect(accept(&table, "bob", "1", client: 6) == bob)
        #expect(find(table, "bob", "1") == bob)
        // Nobody refuses user 0, and unknown ones do not matter.
        table.refused(0)
        table.refused(99)
        #expect(find(table, "default", "") == 0)
    }

    @Test("a password for the default user's name, and who brought it first")
    func defaultByPassword() throws {
        var table = UserTable(name: "", password: nil)
        #expect(table.defaultByPassword == nil)
        _ = accept(&table, "bob", "1")
        #expect(table.defaultByPassword == nil)
        let first = try #require(accept(&table, "default", "1", client: 5))
        #expect(accept(&table, "default", "1", client: 6) == first)
        #expect(table.defaultByPassword?.user == first)
        #expect(table.defaultByPassword?.witness == 5)
        let second = try #require(accept(&table, "default", "2", client: 7))
        #expect(table.defaultByPassword?.user == second)
        #expect(accept(&table, "default", "1", client: 8) == first)
        #expect(table.defaultByPassword?.user == first)
        table.forgetDefault()
        #expect(table.defaultByPassword == nil)
        #expect(find(table, "default", "1") == nil)
        #expect(find(table, "bob", "1") != nil)
        #expect(accept(&table, "default", "1", client: 9) == first)
        #expect(table.defaultByPassword?.witness == 9)
        table.keep([], now: at(1))
        #expect(table.defaultByPassword == nil)
    }

    @Test("a name has at most 64 passwords, a pool at most 4096 users")
    func bounded() {
        var table = UserTable(name: "", password: nil)
        for number in 0..<64 { #expect(accept(&table, "bob", "\(number)") != nil) }
        #expect(table.isFull(for: utf8("bob")))
        #expect(accept(&table, "bob", "64") == nil)
        #expect(accept(&table, "bob", "63") != nil)
        #expect(!table.isFull(for: utf8("ann")))
        for number in 0..<(4096 - 64) { #expect(accept(&table, "user\(number)", "") != nil) }
        #expect(table.isFull(for: utf8("ann")))
        #expect(accept(&table, "ann", "") == nil)
        #expect(accept(&table, "default", "") == 0)
    }

    @Test("where no room was found nobody looks again at once")
    func patience() {
        var table = UserTable(name: "", password: nil)
        let bob = accept(&table, "bob", "1") ?? 0
        _ = accept(&table, "ann", "1")
        #expect(table.mayLookForRoom(now: at(1)))
        table.keep([bob], now: at(1))
        #expect(table.mayLookForRoom(now: at(1)))
        table.keep([bob], now: at(2))
        #expect(!table.mayLookForRoom(now: at(2)))
        #expect(!table.mayLookForRoom(now: at(2.09)))
        #expect(table.mayLookForRoom(now: at(2.11)))
    }

    @Test("random: compared with a dictionary", arguments: 1...5)
    func random(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var table = UserTable(name: "n0", password: "p0")
        var model: [String: (user: UInt32, isRefused: Bool)] = ["n0 p0": (0, false)]
        var last: UInt32 = 0
        for _ in 0..<800 {
            let (name, password) = ("n\(random.below(4))", "p\(random.below(6))")
            let pair = "\(name) \(password)"
            switch random.below(8) {
            case 0...4:
                let user = try #require(accept(&table, name, password))
                if let known = model[pair] {
                    try #require(user == known.user)
                    model[pair]?.isRefused = false
                } else {
                    try #require(user > last)
                    last = user
                    model[pair] = (user, false)
                }
            case 5, 6:
                if let user = model[pair]?.user, user != 0 {
                    table.refused(user)
                    model[pair]?.isRefused = true
                }
            default:
                let kept = model.values.map(\.user).filter { _ in random.chance(80) }
                table.keep(Set(kept), now: at(1))
                model = model.filter { $0.value.user == 0 || kept.contains($0.value.user) }
            }
            for (pair, entry) in model {
                let words = pair.split(separator: " ").map(String.init)
                try #require(
                    find(table, words[0], words[1]) == (entry.isRefused ? nil : entry.user))
            }
        }
    }
}

@Suite("KnownKeys: which states of a connection the server has accepted")
struct KnownKeysTests {
    @Test("a key is known once it was accepted; the warm one always is")
    func accepted() {
        var known = KnownKeys(warmKey: key(0, database: 3))
        #expect(known.isAccepted(key(0, database: 3)))
        #expect(known.maySelect(key(0, database: 3)))
        #expect(known.maySelect(key(0, protocol: 3, database: 3)))
        #expect(!known.isAccepted(key(0, protocol: 3, database: 3)))
        known.accept(key(1, protocol: 3, database: 2))
        #expect(known.isAccepted(key(1, protocol: 3, database: 2)))
        #expect(!known.isAccepted(key(1, database: 2)))
        // That a user is in a database proves no right to SELECT.
        #expect(!known.maySelect(key(1, database: 2)))
        known.select(key(1, protocol: 3, database: 2))
        #expect(known.maySelect(key(1, database: 2)))
        #expect(known.maySelect(key(1, protocol: 3, database: 2)))
        #expect(!known.maySelect(key(2, database: 2)))
    }

    @Test("users can be kept, or forgotten, and all can")
    func forgotten() {
        var known = KnownKeys(warmKey: key(0))
        for user in 1...4 as ClosedRange<UInt32> {
            known.accept(key(user))
            known.select(key(user))
        }
        known.keep([1, 2, 3])
        known.forget(2)
        let left = (1...4).filter { known.isAccepted(key(UInt32($0))) }
        #expect(left == [1, 3])
        #expect((1...4).filter { known.maySelect(key(UInt32($0))) } == left)
        known.forgetAll()
        #expect(!known.isAccepted(key(1)))
        #expect(!known.maySelect(key(3)))
        #expect(known.isAccepted(key(0)))
    }

    @Test("what is known is bounded")
    func bounded() {
        var known = KnownKeys(warmKey: key(0))
        for database in 1...4096 as ClosedRange<UInt32> {
            known.accept(key(1, database: database))
            known.select(key(1, database: database))
        }
        #expect(known.isAccepted(key(1, database: 1)))
        known.accept(key(1, database: 5000))
        #expect(!known.isAccepted(key(1, database: 1)))
        #expect(known.isAccepted(key(1, database: 5000)))
        #expect(known.maySelect(key(1, database: 1)))
        known.select(key(1, database: 5000))
        #expect(!known.maySelect(key(1, database: 1)))
    }
}
