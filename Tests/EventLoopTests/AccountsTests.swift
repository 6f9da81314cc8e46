import Glibc
import TestSupport
import Testing

@testable import EventLoop

@Suite struct AccountsTests {
    private let folder: Folder
    private let directory: String
    /// A user who owns nothing here.
    private let user = "nobody"

    init() throws {
        folder = try Folder()
        directory = String(folder.path("").dropLast())
    }

    private func file(mode: mode_t) -> String {
        let path = folder.path("file")
        let descriptor = open(path, O_WRONLY | O_CREAT, 0o600)
        #expect(descriptor >= 0)
        close(descriptor)
        #expect(chmod(path, mode) == 0)
        return path
    }

    @Test func groupsAreFoundByNameAndNumber() {
        #expect(Accounts.hasGroup("root"))
        #expect(Accounts.hasGroup("0"))
        #expect(!Accounts.hasGroup("no-such-group"))
        #expect(!Accounts.hasGroup("-1"))
    }

    @Test(arguments: [(0o600, false), (0o640, false), (0o602, true), (0o644, false)])
    func othersWriteByTheLastDigit(mode: Int, isWritable: Bool) {
        #expect(Accounts.isWritable(file(mode: mode_t(mode))) == isWritable)
    }

    /// A group that is not root's counts as others.
    @Test func groupsWrite() {
        let path = file(mode: 0o660)
        var facts = stat()
        #expect(stat(path, &facts) == 0)
        #expect(Accounts.isWritable(path) == (facts.st_gid != 0))
        #expect(!Accounts.isWritable("/nowhere/at/all"))
    }

    @Test(arguments: [(0o600, false), (0o640, false), (0o644, true), (0o606, true)])
    func othersReadByTheLastDigit(mode: Int, isOpen: Bool) {
        #expect(chmod(directory, 0o755) == 0)
        let path = file(mode: mode_t(mode))
        #expect(Accounts.isOpen(path) == isOpen)
        #expect(Accounts.canRead(path, user: user) == isOpen)
        #expect(Accounts.canRead(path, user: "root") == true)
    }

    @Test func aClosedDirectoryHidesTheFile() {
        let path = file(mode: 0o644)
        #expect(chmod(directory, 0o700) == 0)
        #expect(Accounts.canRead(path, user: user) == false)
        #expect(chmod(directory, 0o701) == 0)
        #expect(Accounts.canRead(path, user: user) == true)
    }

    @Test func whatIsNotThereIsNotKnown() {
        let path = folder.path("none")
        #expect(Accounts.isOpen(path) == nil)
        #expect(Accounts.canRead(path, user: user) == nil)
        #expect(Accounts.canRead(file(mode: 0o644), user: "no-such-user") == nil)
    }

    @Test func namesOfLoopbackAddresses() throws {
        let path = folder.path("hosts")
        let stream = try #require(fopen(path, "w"))
        fputs(
            "# 127.0.0.1 no\n10.0.0.1 other\n127.0.1.1\tHere here.example # not\n::1 six\n", stream)
        fclose(stream)
        for name in ["here", "HERE", "here.example", "six"] {
            #expect(Hosts.isLoopback(name, file: path), "\(name)")
        }
        for name in ["no", "other", "not", "her", "127.0.1.1", ""] {
            #expect(!Hosts.isLoopback(name, file: path), "\(name)")
        }
        #expect(!Hosts.isLoopback("here", file: "/nowhere/at/all"))
    }
}
