// Starting runs through most of the program once: the runtime's tables, the reader of the
// configuration, the parser of the command line. None of it is needed again.

import EventLoop
import Glibc

enum StartPages {
    /// Gives back free heap memory and the pages of files that are only read, code and constants.
    /// The kernel maps those again that running really needs, from its cache, at the first touch.
    /// What cannot be given back stays: it costs memory, nothing else.
    static func giveBack() {
        System.trimHeap()
        guard let maps = fopen("/proc/self/maps", "re") else { return }
        defer { fclose(maps) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, maps) > 0 {
            guard let line, let range = unwrittenFile(line) else { continue }
            _ = madvise(range.baseAddress, range.count, MADV_DONTNEED)
        }
    }

    /// The range of a line of `maps` that stands for pages of a file without the right to write:
    /// `start-end perms offset device inode path`. Whatever has been written to is no file's page
    /// any more, and would be lost.
    private static func unwrittenFile(
        _ line: UnsafeMutablePointer<CChar>
    ) -> UnsafeMutableRawBufferPointer? {
        var rest: UnsafeMutablePointer<CChar>?
        let start = strtoul(line, &rest, 16)
        guard let dash = rest, dash[0] == CChar(ascii: "-") else { return nil }
        let end = strtoul(dash + 1, &rest, 16)
        // " r-xp": neither written now nor ever, and private.
        guard let permissions = rest, strlen(permissions) > 5, start < end,
            permissions[2] == CChar(ascii: "-"), permissions[3] == CChar(ascii: "x"),
            permissions[4] == CChar(ascii: "p"), strchr(permissions, CInt(UInt8(ascii: "/"))) != nil
        else { return nil }
        return UnsafeMutableRawBufferPointer(
            start: UnsafeMutableRawPointer(bitPattern: start), count: Int(end - start))
    }
}

extension CChar {
    fileprivate init(ascii scalar: Unicode.Scalar) {
        self = CChar(bitPattern: UInt8(ascii: scalar))
    }
}
