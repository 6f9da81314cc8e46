// Fuzzes the reading of hand-over files. The checksum would keep nearly all inputs from the
// decoder, so they get a right one. What is read can be written, and is read as the same again;
// without secrets, too.

internal import Session

/// Puts what a writer would say of the whole into the header.
private func seal(_ file: [UInt8]) -> [UInt8] {
    var file = file
    for place in 0..<8 { file[24 + place] = UInt8(truncatingIfNeeded: file.count >> (8 * place)) }
    let sum = FileFrame.checksum(of: file.span)
    for place in 0..<4 { file[4 + place] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * place)) }
    return file
}

/// A small file with other sections behind: of any bytes.
private func file(_ sections: [(tag: String, body: ArraySlice<UInt8>)]) -> [UInt8] {
    var file = HandOverFile.smallest
    for (tag, body) in sections {
        let name = Array(tag.utf8)
        file += name + [UInt8](repeating: 0, count: 16 - name.count) + [1, 0, 0, 0, 0, 0, 0, 0]
        for place in 0..<8 { file.append(UInt8(truncatingIfNeeded: body.count >> (8 * place))) }
        file += body
    }
    // Those of files and secrets have been taken out before.
    file[16] += UInt8(sections.count - 2)
    return seal(file)
}

extension HandOverFile {
    /// A file without cells, up to the sections of files and of secrets, which are its last ones
    /// and have nothing. Its header counts these sections.
    fileprivate static let smallest: [UInt8] = {
        let process = CarriedProcess(
            version: "1", threads: 1, pid: 1, startedAt: .init(nanoseconds: 1), startedOn: 1,
            upgradeBegan: .init(nanoseconds: 1), lastClient: 1, lastUpstream: 1, upgrades: 1)
        let empty = HandOverFile(process: process, configuration: "")
        var bytes: [UInt8] = []
        do {
            try empty.encode(into: &bytes)
        } catch {
            preconditionFailure("a small file is refused: \(error)")
        }
        return Array(bytes.dropLast(2 * FileFrame.sectionLength + 4))
    }()
}

private func encoded(_ file: HandOverFile) -> [UInt8] {
    var bytes: [UInt8] = []
    do {
        try file.encode(into: &bytes)
    } catch {
        preconditionFailure("what was read is not written: \(error)")
    }
    return bytes
}

private func check(_ input: [UInt8]) {
    let read: HandOverFile
    do {
        read = try HandOverFile.decode(input.span)
    } catch {
        precondition(!error.text(reader: "1").isEmpty, "an error without text")
        return
    }
    let written = encoded(read)
    guard let again = try? HandOverFile.decode(written.span) else {
        preconditionFailure("what was written is not read")
    }
    precondition(again == read, "something else is read again")
    for cell in read.cells {
        for client in cell.clients {
            precondition(
                Session(carried: client.session).carried == client.session, "another session")
        }
    }
    let blank = encoded(read.redacted)
    guard let parts = try? HandOverFile.secretParts(of: blank.span) else {
        preconditionFailure("a file without secrets is not read")
    }
    for part in parts { precondition(blank[part].allSatisfy { $0 == 0 }, "a secret is left") }
}

@c(LLVMFuzzerTestOneInput)
public func fuzzHandOver(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: size))
    check(input)
    if input.starts(with: FileFrame.magic), input.count >= FileFrame.headerLength {
        check(seal(input))
    } else if input.count >= 2 {
        // A cell, or files, and the secrets behind it.
        let cut = min(input.count, 2 + Int(input[0]) << 8 + Int(input[1]))
        let (part, secrets) = (input[2..<cut], input[cut...])
        check(file([("cell", part), ("files", [0, 0, 0, 0]), ("secrets", secrets)]))
        check(file([("files", part), ("secrets", secrets)]))
    }
    return 0
}
