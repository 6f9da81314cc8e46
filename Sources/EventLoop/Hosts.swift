// The names that the machine itself has for its loopback addresses, from /etc/hosts.

internal import Glibc

/// The names of /etc/hosts.
package enum Hosts {
    /// Whether the file has the name for a loopback address. Letter case has no meaning. False if
    /// there is no file, and for what only a name server knows.
    package static func isLoopback(_ name: String, file: String = "/etc/hosts") -> Bool {
        guard let stream = fopen(file, "re") else { return false }
        defer { fclose(stream) }
        var line = [CChar](repeating: 0, count: 4096)
        while fgets(&line, Int32(line.count), stream) != nil {
            let bytes = line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            let text = String(decoding: bytes, as: UTF8.self).prefix { $0 != "#" }
            let words = text.split { $0 == " " || $0 == "\t" || $0 == "\n" || $0 == "\r" }
            guard let address = words.first,
                address.hasPrefix("127.") || address == "::1"
                    || address.lowercased().hasPrefix("::ffff:127.")
            else {
                continue
            }
            if words.dropFirst().contains(where: { $0.lowercased() == name.lowercased() }) {
                return true
            }
        }
        return false
    }
}
