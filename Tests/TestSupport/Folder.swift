// A place for files, which goes with the test.

internal import EventLoop
internal import Glibc

/// An empty folder with a short path, removed with everything in it.
package final class Folder: Sendable {
    private let root: String

    package init() throws {
        var template = Array("/tmp/redpool-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw TestFailure("mkdtemp: \(System.errorText(errno))")
        }
        root = String(
            decoding: template.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit {
        if let folder = opendir(root) {
            while let entry = readdir(folder) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                unlink(path(name))
            }
            closedir(folder)
        }
        rmdir(root)
    }

    /// The path of a file in it.
    package func path(_ name: String) -> String { "\(root)/\(name)" }
}
