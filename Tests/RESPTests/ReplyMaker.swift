import RESP

/// Makes random well-formed replies of every type, nested, with attributes and pushes inside.
struct ReplyMaker {
    var random: SplitMix64

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
    }

    mutating func reply(depth: Int, into output: inout [UInt8]) {
        if chance(10) { attribute(depth, &output) }
        if depth > 0, chance(15) {
            output += utf8(">1\r\n")
            reply(depth: depth + 1, into: &output)
            reply(depth: depth, into: &output)
            return
        }
        let types = depth > 4 ? "+-:_#,($!=" : "+-:_#,($!=*~%*~%" + (depth == 0 ? ">" : "")
        let type = types.utf8.randomElement(using: &random) ?? 0
        output.append(type)
        switch type {
        case UInt8(ascii: "+"), UInt8(ascii: "-"): output += text(24)
        case UInt8(ascii: ":"): output += utf8("\(Int64.random(in: .min ... .max, using: &random))")
        case UInt8(ascii: "#"): output += utf8(chance(2) ? "t" : "f")
        case UInt8(ascii: ","): output += utf8("inf")
        case UInt8(ascii: "("): output += utf8("-12345678901234567890123")
        case UInt8(ascii: "_"): break
        case UInt8(ascii: "$"), UInt8(ascii: "!"), UInt8(ascii: "="): bulk(type, &output)
        default: elements(type, depth, &output)
        }
        if !isEnded(type) { output += utf8("\r\n") }
    }

    private func isEnded(_ type: UInt8) -> Bool { "$!=*~%>".utf8.contains(type) }

    private mutating func chance(_ outOf: Int) -> Bool {
        Int.random(in: 0..<outOf, using: &random) == 0
    }

    private mutating func text(_ longest: Int) -> [UInt8] {
        (0..<Int.random(in: 0...longest, using: &random)).map { _ in
            UInt8.random(in: 0x20...0xFF, using: &random)
        }
    }

    private mutating func bulk(_ type: UInt8, _ output: inout [UInt8]) {
        if type == UInt8(ascii: "$"), chance(4) {
            output += utf8("-1\r\n")
            return
        }
        let payload = (0..<Int.random(in: 0...300, using: &random)).map { _ in
            UInt8.random(in: 0...255, using: &random)
        }
        output += utf8("\(payload.count)\r\n") + payload + utf8("\r\n")
    }

    private mutating func elements(_ type: UInt8, _ depth: Int, _ output: inout [UInt8]) {
        if type == UInt8(ascii: "*"), chance(5) {
            output += utf8("-1\r\n")
            return
        }
        let count = Int.random(in: 0...4, using: &random)
        output += utf8("\(count)\r\n")
        for _ in 0..<(type == UInt8(ascii: "%") ? 2 * count : count) {
            reply(depth: depth + 1, into: &output)
        }
    }

    private mutating func attribute(_ depth: Int, _ output: inout [UInt8]) {
        output += utf8("|1\r\n+key\r\n")
        reply(depth: depth + 1, into: &output)
    }
}
