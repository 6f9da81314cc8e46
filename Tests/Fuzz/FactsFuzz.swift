// Fuzzes what is read of a server when a connection is made, and the reading of words and numbers
// on which it rests, against plain ones: C's strcasecmp and string2ll written down byte by byte.

internal import RESP

/// What a C string is, in lower case.
private func folded(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    bytes.prefix { $0 != 0 }.map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 }
}

/// The number that is printed so and not otherwise.
private func plainNumber(_ bytes: [UInt8]) -> Int64? {
    guard let number = Int64(String(decoding: bytes, as: UTF8.self)) else { return nil }
    return Array(String(number).utf8) == bytes ? number : nil
}

private func checkWords(_ one: ArraySlice<UInt8>, _ other: ArraySlice<UInt8>) {
    let (left, right) = (folded(one), folded(other))
    let isEqual = Word(Array(one)) == Word(Array(other))
    if left.count <= Word.longest, right.count <= Word.longest {
        precondition(isEqual == (left == right), "words are compared otherwise")
    } else if left.count > Word.longest, right.count > Word.longest {
        precondition(isEqual, "words that equal nothing differ")
    }
    for literal in ["skip", "timeout", "no-evict", "abcdefghijklmnopqrstuvwx"] as [StaticString] {
        let word = Word(stringLiteral: literal)
        let text = literal.withUTF8Buffer { Array($0) }
        precondition((Word(Array(one)) == word) == (left == text), "a literal is another word")
    }
}

private func checkNumber(_ bytes: [UInt8]) {
    let number = plainNumber(bytes)
    precondition(Word.integer(bytes, in: Word.anyNumber) == number, "numbers are read otherwise")
    for range in [0...0, 0...Int64(Int32.max), .min ... -1, .min ... .max] as [ClosedRange<Int64>] {
        let expected = number.flatMap { range.contains($0) ? $0 : nil }
        precondition(Word.integer(bytes, in: range) == expected, "a range does not hold")
    }
}

/// Any bytes as a reply, and as the text of one that is whole.
private func checkFacts(_ bytes: [UInt8]) {
    var bulk: [UInt8] = []
    Encode.bulk(bytes, into: &bulk)
    var pair = Array("*2\r\n$7\r\ntimeout\r\n".utf8)
    Encode.bulk(bytes, into: &pair)
    for reply in [bytes, bulk, pair] {
        var facts = ServerFacts()
        facts.version = ServerFacts.field("redis_version", in: reply)
        facts.runID = ServerFacts.field("run_id", in: reply)
        if facts.version == nil { precondition(!facts.isBefore72, "an old server without version") }
        if let timeout = ServerFacts.configValue(in: reply) {
            precondition((0...Int64(Int32.max)).contains(timeout), "a timeout of no server")
        }
        precondition(ServerFacts.outputLimit(in: reply) >= 0, "a limit below none")
        if ServerFacts.knowsBoth(reply) {
            precondition(reply.first == UInt8(ascii: "*"), "no array of two arrays")
        }
    }
    let seconds = plainNumber(bytes).flatMap { (0...Int64(Int32.max)).contains($0) ? $0 : nil }
    precondition(ServerFacts.configValue(in: pair) == seconds, "another timeout")
}

@c(LLVMFuzzerTestOneInput)
public func fuzzFacts(_ data: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: size))
    guard let first = input.first else { return 0 }
    let bytes = Array(input.dropFirst())
    let cut = min(bytes.count, Int(first))
    checkWords(bytes[..<cut], bytes[cut...])
    checkNumber(bytes)
    checkNumber(Array(bytes[cut...]))
    checkFacts(bytes)
    return 0
}
