// Starting runs through most of the program once: the runtime's tables, the reader of the
// configuration, the parser of the command line. None of it is needed again, and little of it by
// the next stage of starting: what is given back between them does not add up.

import EventLoop
import Glibc

struct StartPages: Sendable {
    /// What is mapped as long as the process lives. Another thread may load a library, to resolve
    /// a name: a range of that can become something else while this file looks at it.
    private let ranges: [Range<UInt>]

    /// To be called before there is a second thread.
    init() {
        ranges = StartPages.unwrittenFiles()
    }

    /// Gives back free heap memory and the pages of files that are only read, code and constants.
    /// The kernel maps those again that running really needs, from its cache, at the first touch.
    /// What cannot be given back stays: it costs memory, nothing else.
    func giveBack() {
        System.trimHeap()
        for range in StartPages.unwrittenFiles() where ranges.contains(range) {
            let start = UnsafeMutableRawPointer(bitPattern: range.lowerBound)
            _ = madvise(start, range.count, MADV_DONTNEED)
        }
    }

    /// The mappings of files that cannot be written to and have not been. What has been written to
    /// all the same, by the dynamic linker or by a debugger, would be lost.
    private static func unwrittenFiles() -> [Range<UInt>] {
        guard let mappings = fopen("/proc/self/smaps", "re") else { return [] }
        defer { fclose(mappings) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        var found: [Range<UInt>] = []
        var candidate: Range<UInt>?
        while getline(&line, &capacity, mappings) > 0 {
            guard let line else { continue }
            if let size = anonymousSize(line) {
                if size == 0, let candidate { found.append(candidate) }
                candidate = nil
            } else if candidate == nil {
                candidate = unwritableFile(line)
            }
        }
        return found
    }

    /// How much of a mapping is no file's page any more, where a line of `smaps` says it.
    private static func anonymousSize(_ line: UnsafeMutablePointer<CChar>) -> UInt? {
        let name = "Anonymous:"
        guard strncmp(line, name, name.utf8.count) == 0 else { return nil }
        return strtoul(line + name.utf8.count, nil, 10)
    }

    /// The range of a mapping's first line that stands for pages of a file without the right to
    /// write: `start-end perms offset device inode path`, where `perms` is such as `r-xp`. Nil for
    /// every other line.
    private static func unwritableFile(_ line: UnsafeMutablePointer<CChar>) -> Range<UInt>? {
        var rest: UnsafeMutablePointer<CChar>?
        let start = strtoul(line, &rest, 16)
        guard let dash = rest, dash[0] == CChar(ascii: "-") else { return nil }
        let end = strtoul(dash + 1, &rest, 16)
        guard let permissions = rest, strlen(permissions) > 5, start < end,
            permissions[2] == CChar(ascii: "-"), permissions[4] == CChar(ascii: "p"),
            strchr(permissions, CInt(UInt8(ascii: "/"))) != nil
        else { return nil }
        return start..<end
    }
}

extension CChar {
    fileprivate init(ascii scalar: Unicode.Scalar) {
        self = CChar(bitPattern: UInt8(ascii: scalar))
    }
}
