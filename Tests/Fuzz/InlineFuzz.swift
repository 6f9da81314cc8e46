// Fuzzes the inline parser against a plain transcription of Redis's C, flags and all.

/// `sdssplitargs` of Redis 7.0 as it stands, one state variable at a time; `line` ends with a NUL.
private func reference(_ line: [UInt8]) -> [[UInt8]]? {
    let isSpace = { (byte: UInt8) in byte == 32 || (9...13).contains(byte) }
    let hex = { (byte: UInt8) in Int(String(Unicode.Scalar(byte)), radix: 16) }
    var words: [[UInt8]] = []
    var p = 0
    while true {
        while isSpace(line[p]) { p += 1 }
        if line[p] == 0 { return words }
        var inDouble = false
        var inSingle = false
        var isDone = false
        var word: [UInt8] = []
        while !isDone {
            let c = line[p]
            if inDouble {
                if c == 92, line[p + 1] == 120, let high = hex(line[p + 2]),
                    let low = hex(line[p + 3])
                {
                    word.append(UInt8(high * 16 + low))
                    p += 3
                } else if c == 92, line[p + 1] != 0 {
                    p += 1
                    let escapes: [UInt8: UInt8] = [110: 10, 114: 13, 116: 9, 98: 8, 97: 7]
                    word.append(escapes[line[p]] ?? line[p])
                } else if c == 34 {
                    if line[p + 1] != 0, !isSpace(line[p + 1]) { return nil }
                    isDone = true
                } else if c == 0 {
                    return nil
                } else {
                    word.append(c)
                }
            } else if inSingle {
                if c == 92, line[p + 1] == 39 {
                    p += 1
                    word.append(39)
                } else if c == 39 {
                    if line[p + 1] != 0, !isSpace(line[p + 1]) { return nil }
                    isDone = true
                } else if c == 0 {
                    return nil
                } else {
                    word.append(c)
                }
            } else {
                switch c {
                case 32, 10, 13, 9, 0: isDone = true
                case 34: inDouble = true
                case 39: inSingle = true
                default: word.append(c)
                }
            }
            if line[p] != 0 { p += 1 }
        }
        words.append(word)
    }
}

@c(LLVMFuzzerTestOneInput)
public func fuzzInline(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let line = Array(UnsafeBufferPointer(start: data, count: size))
    // The C looks up to three bytes ahead, but never past a NUL.
    precondition(InlineParser.split(line.span) == reference(line + [0, 0, 0, 0]))
    return 0
}
