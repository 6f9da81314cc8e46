import FoundationEssentials
import Glibc
import Testing

@testable import Config

/// A directory of a test's own, removed at its end.
private final class Directory {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/redpool-config-\(UUID())"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }

    /// Writes a file and gives its path.
    func write(_ bytes: [UInt8], as name: String) throws -> String {
        try Data(bytes).write(to: URL(filePath: "\(path)/\(name)"))
        return "\(path)/\(name)"
    }
}

@Suite struct ConfigFileTests {
    private let directory = try! Directory()

    @Test func filesAreRead() throws {
        let text = pool("passwordFile: pw")
        let path = try directory.write(Array(text.utf8), as: "redpool.yaml")
        _ = try directory.write(Array("hunter2\n".utf8), as: "pw")
        guard case .valid(let config, let warnings) = try Config.load(path: path) else {
            Issue.record("a valid file is refused")
            return
        }
        #expect(config.pools[0].password == "hunter2")
        #expect(warnings == [])
        let bytes = try Config.readBytes(path: path)
        #expect(bytes == Array(text.utf8))
        #expect(
            Config.effectiveYAML(bytes, file: path) == Config.effectiveYAML(text: text, file: path))
    }

    /// What they have counts as long as they are kept, whatever becomes of them on the disk.
    @Test func namedFilesAreReadOnce() throws {
        let text = Array(
            pool("passwordFile: pw").replacing("127.0.0.1:6379", with: "rediss://cache:6379").utf8)
        let path = try directory.write(text, as: "redpool.yaml")
        let password = try directory.write(Array("hunter2\n".utf8), as: "pw")
        let authority = try directory.write(Array("second".utf8), as: "second.pem")
        let surroundings = Surroundings(authorities: ["\(directory.path)/first.pem", authority])
        let files = NamedFiles()
        func load(_ files: NamedFiles) -> Config? {
            let result = Config.load(text, file: path, surroundings: surroundings, files: files)
            guard case .valid(let config, _) = result else { return nil }
            return config
        }
        let read = try #require(load(files))
        #expect(read.pools[0].password == "hunter2")
        #expect(read.pools[0].upstreamTLS?.systemFile == authority)
        #expect(files.contents.count == 3)
        #expect(files.contents[password] == Secret("hunter2\n".utf8))
        try FileManager.default.removeItem(atPath: password)
        _ = try directory.write([], as: "second.pem")
        // It could not be read before, so it is not read now.
        _ = try directory.write(Array("garbage".utf8), as: "first.pem")
        #expect(load(files) == read)
        // The same in another program.
        let others = NamedFiles()
        for (path, secret) in files.contents { others.add(path, secret?.bytes) }
        #expect(load(others) == read)
        #expect(load(NamedFiles()) == nil)
    }

    @Test func missingFilesAreErrors() throws {
        #expect(throws: Config.FileError(message: "No such file or directory", code: 2)) {
            try Config.load(path: directory.path + "/none.yaml")
        }
        #expect(throws: Config.FileError(message: "Is a directory", code: 21)) {
            try Config.load(path: directory.path)
        }
    }

    @Test func unreadablePasswordFilesAreProblems() throws {
        let path = try directory.write(
            Array(pool("passwordFile: \(directory.path)").utf8), as: "redpool.yaml")
        guard case .invalid(let errors) = try Config.load(path: path) else {
            Issue.record("a directory is taken for a password file")
            return
        }
        #expect(errors.map(\.path) == ["pools.main.passwordFile"])
        #expect(errors[0].message.hasSuffix(": cannot be read: Is a directory"))
        #expect(errors[0].line == 5)
    }

    @Test func filesThatAreNotUTF8AreProblems() throws {
        let path = try directory.write(Array("a: b\n# ".utf8) + [0xC3, 0x28], as: "redpool.yaml")
        guard case .invalid(let errors) = try Config.load(path: path) else {
            Issue.record("bytes that are not UTF-8 are taken for text")
            return
        }
        #expect(errors.map { $0.rendered(file: "f") } == ["f:2:3: the file is not UTF-8"])
        #expect(Config.effectiveYAML(try Config.readBytes(path: path), file: path) == nil)
    }

    @Test func hugeFilesAreProblemsAndNotReadToTheirEnd() throws {
        let path = try directory.write([], as: "endless.yaml")
        // Far more than could be read; it takes no room.
        #expect(truncate(path, 1 << 40) == 0)
        guard case .invalid(let errors) = try Config.load(path: path) else {
            Issue.record("an endless file is taken for a configuration")
            return
        }
        #expect(errors.map(\.message) == ["the file is longer than 1 MiB"])
    }
}
