// Fuzzes what is made of the replies of several nodes, and what a client sends of it. Nothing may
// trap; what comes out is one reply, or one command; and a merged reply is its own merge.

internal import Pool
internal import RESP

private let table = CommandTable()
private let commands = table.all.indices.compactMap { Command(rawValue: UInt16($0)) }
private let merges = commands.compactMap { NodeMerge($0) }
private let splits = ["MGET", "EXISTS", "TOUCH", "DEL", "UNLINK", "MSET"].map { Array($0.utf8) }
private let face = ClusterFace(pool: "main", host: "10.0.0.5", port: 6379)

/// The input in pieces, which end with NUL.
private func pieces(_ bytes: [UInt8]) -> [[UInt8]] {
    bytes.split(separator: 0, omittingEmptySubsequences: false).map { Array($0) }
}

private func isReply(_ bytes: [UInt8]) -> Bool {
    var scanner = ReplyScanner()
    return scanner.scan(bytes.span, from: 0) == .complete(end: bytes.count)
}

private func frame(_ bytes: [UInt8]) -> CommandFrame? {
    var scanner = CommandScanner()
    let scan = scanner.scan(bytes.span, frameStart: 0, limits: CommandLimits())
    guard case .command(let frame) = scan, frame.end == bytes.count else { return nil }
    return frame
}

/// Whether the bytes are one command; with this number of words, if it is given.
private func isCommand(_ bytes: [UInt8], words: Int? = nil) -> Bool {
    guard let frame = frame(bytes) else { return false }
    return words.map { $0 == frame.argumentCount } ?? true
}

private func framed(_ words: [[UInt8]]) -> (bytes: [UInt8], frame: CommandFrame) {
    var bytes: [UInt8] = []
    Encode.command(words, into: &bytes)
    guard let frame = frame(bytes) else { preconditionFailure("not a command") }
    return (bytes, frame)
}

private func checkMerge(_ merge: NodeMerge, _ replies: [[UInt8]], _ random: UInt64) {
    guard let reply = merge.merged(replies, random: random) else { return }
    precondition(isReply(reply), "a merge that is no reply")
    precondition(merge.merged([reply], random: random) == reply, "a merge that changes")
}

/// The first half of the pieces are keys, the second half replies.
private func checkSplit(_ name: [UInt8], _ pieces: [[UInt8]]) {
    let keys = Array(pieces.prefix(pieces.count / 2))
    let (bytes, frame) = framed([name] + keys)
    let command = table.find(bytes.span, frame)
    guard let split = Split(command, bytes.span, frame, includesMSET: true) else { return }
    var count = 0
    for part in split.parts {
        precondition(isCommand(Array(split.commands[part.range])), "a part that is no command")
        count += part.keyCount
    }
    precondition(count == split.partOfKey.count, "a key without a part")
    let replies = Array(pieces.suffix(split.parts.count))
    var ends: [Int] = []
    for reply in replies { ends.append((ends.last ?? 0) + reply.count) }
    guard let reply = split.merged(Array(replies.joined()), ends: ends, pool: "main", name: "NAME")
    else { return }
    // It gets whole replies, and passes errors on unread.
    precondition(!replies.allSatisfy { isReply($0) } || isReply(reply), "no reply")
}

private func checkScan(_ reply: [UInt8], _ words: [[UInt8]], node: Int) {
    let nodes = [0, 3, node, 4095]
    if let answer = ScanCursor.replacing(in: reply, node: node, nodes: nodes) {
        precondition(isReply(answer), "an answer that is no reply")
        var cursor = ReplyCursor(from: 0)
        if cursor.next(answer.span)?.type == UInt8(ascii: "*"),
            let word = cursor.next(answer.span)
        {
            let next = ScanCursor(Array(answer[word.range]))
            precondition(next != nil, "a cursor that is none")
        }
    }
    let (bytes, frame) = framed([Array("SCAN".utf8)] + words)
    guard let scan = try? ScanCommand(bytes.span, frame) else { return }
    precondition((0..<ScanCursor.mostNodes).contains(scan.node), "a node that cannot be")
    precondition(isCommand(scan.command, words: frame.argumentCount), "no command")
}

private func checkFace(_ command: Command, _ words: [[UInt8]], _ selector: UInt8) {
    let (bytes, frame) = framed([Array("CLUSTER".utf8)] + words)
    for command in [command, table.find(bytes.span, frame)] {
        let slot = ClusterFace.slot(ofCommand: command, bytes.span, frame)
        precondition(slot.map { $0 < UInt16(Slot.count) } ?? true, "a slot of no cluster")
        let reply = face.reply(
            to: command, bytes.span, frame, protocolVersion: selector % 4, isCovered: true)
        precondition(reply.map { isReply($0) } ?? true, "an answer that is no reply")
    }
}

@c(LLVMFuzzerTestOneInput)
public func fuzzNodes(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: size))
    guard input.count > 2 else { return 0 }
    let selector = Int(input[1])
    let pieces = pieces(Array(input.dropFirst(2)))
    switch input[0] % 4 {
    case 0: checkMerge(merges[selector % merges.count], pieces, UInt64(selector))
    case 1: checkSplit(splits[selector % splits.count], pieces)
    case 2: checkScan(pieces[0], Array(pieces.dropFirst()), node: selector * 16)
    default:
        let command = commands[(selector + 256 * pieces.count) % commands.count]
        checkFace(command, pieces, input[1])
    }
    return 0
}
