// Reads the configuration file and the password files that it names from disk.

import Glibc

extension Config {
    /// Reads the configuration file at `path` and the password files that it names. Throws if the
    /// configuration file itself cannot be read; everything else is a diagnostic.
    package static func load(
        path: String, surroundings: Surroundings = Surroundings()
    ) throws(FileError) -> ConfigResult {
        try loadWithSource(path: path, surroundings: surroundings).result
    }

    /// The same, with the text that was read. `files` gets what the named files have.
    package static func loadWithSource(
        path: String, surroundings: Surroundings = Surroundings(), files: NamedFiles? = nil
    ) throws(FileError) -> (result: ConfigResult, source: ConfigSource) {
        let bytes = try readBytes(path: path)
        let text = String(validating: bytes, as: UTF8.self) ?? ""
        return (
            load(bytes, file: path, surroundings: surroundings, files: files),
            ConfigSource(file: path, text: text)
        )
    }

    /// The same for the contents of a file. `file` is its name in messages; relative paths in it
    /// are relative to the directory of that. Files that are in `files` already are not read.
    package static func load(
        _ bytes: [UInt8], file: String, surroundings: Surroundings, files: NamedFiles? = nil
    ) -> ConfigResult {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            return .invalid([encodingProblem(in: bytes)])
        }
        return parse(text: text, file: file, surroundings: surroundings) {
            name throws(FileError) in
            if let files { return try files.read(name) }
            return try readBytes(path: name)
        }
    }

    /// Prints every key with its value and origin, as `effectiveYAML(text:file:)` does; nil if the
    /// file has errors.
    package static func effectiveYAML(_ bytes: [UInt8], file: String) -> String? {
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        return effectiveYAML(text: text, file: file)
    }

    /// What standard input has, up to a little more than the longest configuration.
    package static func readStandardInput() throws(FileError) -> [UInt8] {
        try readBytes(STDIN_FILENO)
    }

    /// The first place where the text is not UTF-8.
    static func encodingProblem(in bytes: [UInt8]) -> Diagnostic {
        var decoded = String.UnicodeScalarView()
        var decoder = UTF8()
        var iterator = bytes.makeIterator()
        while case .scalarValue(let scalar) = decoder.decode(&iterator) { decoded.append(scalar) }
        let place = TextLines(String(decoded)).end
        return Diagnostic(
            line: place.line, column: place.column, path: "", message: "the file is not UTF-8")
    }

    /// A complete file, up to a little more than the longest configuration. Only regular files are
    /// opened: opening another kind can block for ever, or affect a device.
    package static func readBytes(path: String) throws(FileError) -> [UInt8] {
        var facts = stat()
        guard unsafe stat(path, &facts) == 0 else { throw lastError() }
        try refuseIrregular(facts)
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { throw lastError() }
        defer { close(descriptor) }
        // The file may have been replaced in between.
        guard unsafe fstat(descriptor, &facts) == 0 else { throw lastError() }
        try refuseIrregular(facts)
        return try readBytes(descriptor)
    }

    private static func readBytes(_ descriptor: Int32) throws(FileError) -> [UInt8] {
        // Room for most files: an array that grows leaves a copy of its bytes behind.
        var bytes: [UInt8] = []
        bytes.reserveCapacity(65_536)
        var chunk = [UInt8](repeating: 0, count: 65_536)
        defer { Secret.wipe(&chunk) }
        while bytes.count <= Document.sizeLimit {
            let count = unsafe chunk.withUnsafeMutableBytes {
                unsafe read(descriptor, $0.baseAddress, $0.count)
            }
            if count == 0 { break }
            if count > 0 {
                bytes += chunk[..<count]
            } else if errno != EINTR {
                throw lastError()
            }
        }
        return bytes
    }

    private static func refuseIrregular(_ facts: stat) throws(FileError) {
        switch facts.st_mode & S_IFMT {
        case S_IFREG: return
        case S_IFDIR: throw error(EISDIR)
        case S_IFIFO: throw FileError(message: "it is a FIFO, not a regular file")
        case S_IFSOCK: throw FileError(message: "it is a socket, not a regular file")
        default: throw FileError(message: "it is a device, not a regular file")
        }
    }

    private static func lastError() -> FileError {
        error(errno)
    }

    private static func error(_ code: Int32) -> FileError {
        FileError(message: unsafe String(cString: strerror(code)), code: code)
    }
}
