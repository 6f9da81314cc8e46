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
}
