import Glibc
import TestSupport
import Testing

@testable import EventLoop

@Suite("SocketFile")
struct SocketFileTests {
    private let folder: Folder
    private let path: String

    init() throws {
        folder = try Folder()
        path = folder.path("redpool.sock")
    }

    private func listen(mode: UInt32 = 0o600, group: String = "") throws -> (Int32, SocketFile) {
        try SocketFile.listen(path: path, mode: mode, group: group, backlog: 4)
    }

    /// What listening comes to, in a word.
    private func outcome(_ path: String, group: String = "") -> String {
        do throws(ListenFailure) {
            let (descriptor, file) = try SocketFile.listen(
                path: path, mode: 0o600, group: group, backlog: 4)
            file.remove()
            close(descriptor)
            return "listens"
        } catch {
            switch error {
            case .system(let code): return System.errorText(code)
            case .occupied(let by): return "occupied by \(by)"
            case .unknownGroup: return "unknown group"
            case .groupRefused: return "group refused"
            }
        }
    }

    private func facts(_ path: String) -> stat? {
        var facts = stat()
        return lstat(path, &facts) == 0 ? facts : nil
    }

    private func connects() throws -> Bool {
        let address = try #require(SocketAddress(unixPath: path))
        let descriptor = address.connect(keepaliveSeconds: 0, userTimeoutMilliseconds: 0)
        if descriptor >= 0 { close(descriptor) }
        return descriptor >= 0
    }

    @Test(
        "the file has its mode from the start, and goes when it is removed",
        arguments: [0o600, 0o666, 0o770] as [UInt32])
    func made(mode: UInt32) throws {
        let (descriptor, file) = try listen(mode: mode)
        defer { close(descriptor) }
        let found = try #require(facts(path))
        #expect(found.st_mode & S_IFMT == S_IFSOCK)
        #expect(found.st_mode & 0o7777 == mode)
        #expect(try connects())
        file.remove()
        #expect(facts(path) == nil)
    }

    @Test("a file that has taken its place is left alone")
    func replaced() throws {
        let (descriptor, file) = try listen()
        defer { close(descriptor) }
        unlink(path)
        let other = try #require(SocketAddress(unixPath: path)).listen(backlog: 1)
        defer { close(other) }
        let inode = facts(path)?.st_ino
        file.remove()
        #expect(facts(path)?.st_ino == inode)
        #expect(inode != nil)
    }

    @Test("it is removed once: a later file of the same name is another's")
    func removedOnce() throws {
        let (descriptor, file) = try listen()
        defer { close(descriptor) }
        // The same file under another name, so that it can come back.
        #expect(link(path, folder.path("kept")) == 0)
        file.remove()
        #expect(rename(folder.path("kept"), path) == 0)
        file.remove()
        #expect(facts(path) != nil)
    }

    @Test("a file that was left behind is replaced")
    func leftOver() throws {
        let (descriptor, _) = try listen()
        close(descriptor)
        let inode = facts(path)?.st_ino
        #expect(inode != nil)
        #expect(try !connects())
        let (again, file) = try listen()
        defer { close(again) }
        #expect(try connects())
        file.remove()
        #expect(facts(path) == nil)
    }

    @Test("a file on which somebody listens stays his")
    func inUse() throws {
        let (descriptor, file) = try listen()
        defer { close(descriptor) }
        let inode = facts(path)?.st_ino
        #expect(outcome(path) == System.errorText(EADDRINUSE))
        #expect(facts(path)?.st_ino == inode)
        #expect(try connects())
        file.remove()
    }

    @Test("a full backlog is no reason to take somebody for gone")
    func fullBacklog() throws {
        let address = try #require(SocketAddress(unixPath: path))
        let listener = address.listen(backlog: 0)
        defer { close(listener) }
        var clients: [Int32] = []
        defer { for client in clients { close(client) } }
        while let client = Optional(
            address.connect(keepaliveSeconds: 0, userTimeoutMilliseconds: 0)), client >= 0
        {
            clients.append(client)
            try #require(clients.count < 100)
        }
        #expect(outcome(path) == System.errorText(EADDRINUSE))
    }

    @Test("a file that somebody has bound and does not listen on yet stays his")
    func bound() throws {
        let address = try #require(SocketAddress(unixPath: path))
        let other = address.bind()
        defer { close(other) }
        #expect(other >= 0)
        #expect(outcome(path) == System.errorText(EADDRINUSE))
        #expect(facts(path) != nil)
        #expect(SocketAddress.listen(on: other, backlog: 1) == 0)
        #expect(try connects())
    }

    @Test("what is no socket is not touched")
    func occupied() throws {
        func check(_ make: () -> Int32, _ kind: String) {
            #expect(make() >= 0)
            #expect(outcome(path) == "occupied by \(kind)")
            #expect(facts(path) != nil)
            #expect(Glibc.remove(path) == 0)
        }
        check({ close(open(path, O_CREAT | O_WRONLY, 0o600)) }, "a regular file")
        check({ mkdir(path, 0o700) }, "a directory")
        check({ mkfifo(path, 0o600) }, "a FIFO")
        check({ symlink("nowhere", path) }, "a symbolic link")
        #expect(outcome("/dev/null") == "occupied by a device")
    }

    @Test("a path that no socket can have")
    func badPaths() {
        #expect(
            outcome(folder.path(String(repeating: "x", count: 108)))
                == System.errorText(ENAMETOOLONG))
        #expect(outcome(folder.path("nowhere/socket")) == System.errorText(ENOENT))
        #expect(outcome("") == System.errorText(ENAMETOOLONG))
    }

    @Test("a group by its number; an unknown one leaves no file behind")
    func groups() throws {
        let (descriptor, file) = try listen(mode: 0o660, group: String(getegid()))
        #expect(facts(path)?.st_gid == getegid())
        file.remove()
        close(descriptor)
        for group in ["no-such-group-here", "-1", "12x"] {
            #expect(outcome(path, group: group) == "unknown group")
            #expect(facts(path) == nil)
        }
    }
}
