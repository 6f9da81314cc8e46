// The files that a configuration names, read once: another program of the process then needs none
// of them, whatever has become of them.

/// What files have, by their paths. It is filled by reading, and a path that is in it is not read
/// again. The contents are overwritten with the last reference. Used by one thread at a time.
package final class NamedFiles {
    /// Nil for a file that could not be read.
    package private(set) var contents: [String: Secret?] = [:]

    /// Nothing is read yet.
    package init() {}

    /// Adds what another program has read.
    ///
    /// - Parameter bytes: nil if it could not read the file.
    package func add(_ path: String, _ bytes: [UInt8]?) {
        contents[path] = .some(bytes.map { Secret($0) })
    }

    /// A copy of what the file has, at most 64 KB more than 1 MB. Throws if it cannot be read, or
    /// could not be when it was read first.
    func read(_ path: String) throws(Config.FileError) -> [UInt8] {
        if let known = contents[path] {
            guard let known else {
                throw Config.FileError(message: "it could not be read before the upgrade")
            }
            return known.bytes
        }
        add(path, nil)
        let bytes = try Config.readBytes(path: path)
        add(path, bytes)
        return bytes
    }
}
