import Testing

@testable import Session

@Suite struct FrameEdgesTests {
    private static let frames: [(String, FrameEdges.Kind)] = [
        ("*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n", .message),
        ("*4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$1\r\nc\r\n$1\r\nx\r\n", .message),
        (">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$1\r\nx\r\n", .message),
        ("*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", .confirmation(.channel, count: 1)),
        (">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:12\r\n", .confirmation(.channel, count: 12)),
        ("*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", .confirmation(.channel, count: 0)),
        (">3\r\n$11\r\nunsubscribe\r\n_\r\n:3\r\n", .confirmation(.channel, count: 3)),
        ("*3\r\n$10\r\npsubscribe\r\n$2\r\nc*\r\n:7\r\n", .confirmation(.pattern, count: 7)),
        ("*3\r\n$12\r\npunsubscribe\r\n$2\r\nc*\r\n:6\r\n", .confirmation(.pattern, count: 6)),
        (
            "*3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1000000\r\n",
            .confirmation(.shard, count: 1_000_000)
        ),
        ("*3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n", .confirmation(.shard, count: 0)),
        // Counts that no server has: sums of them must not overflow, and none may count as 0.
        (
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:9223372036854775807\r\n",
            .confirmation(.channel, count: Int(UInt32.max))
        ),
        (
            "*3\r\n$10\r\npsubscribe\r\n$1\r\nc\r\n:-9223372036854775808\r\n",
            .confirmation(.pattern, count: Int(UInt32.max))
        ),
        (
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:4294967296\r\n",
            .confirmation(.channel, count: Int(UInt32.max))
        ),
        (
            "*3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:+1\r\n",
            .confirmation(.shard, count: Int(UInt32.max))
        ),
        (
            "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n$1\r\n0\r\n",
            .confirmation(.channel, count: Int(UInt32.max))
        ),
        // Words of other servers: none that is told apart.
        ("*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n:1\r\n", .other),
        ("*3\r\n$10\r\nsubscribe\0\r\n$1\r\nc\r\n:1\r\n", .other),
        ("*2\r\n$4\r\npong\r\n$0\r\n\r\n", .other),
        (">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", .other),
        ("*1\r\n:1\r\n", .other),
        ("*0\r\n", .other),
        ("-ERR no\r\n", .other),
        ("$9\r\nsubscribe\r\n", .other),
        // A channel whose name looks like a count, and a message that looks like a confirmation.
        ("*3\r\n$9\r\nsubscribe\r\n$3\r\n:99\r\n:1\r\n", .confirmation(.channel, count: 1)),
        ("*3\r\n$7\r\nmessage\r\n$9\r\nsubscribe\r\n$2\r\n:1\r\n", .message),
    ]

    @Test func everyFrameCutEverywhere() {
        for (text, wanted) in FrameEdgesTests.frames {
            let bytes = Array(text.utf8)
            for cut in 0...bytes.count {
                var edges = FrameEdges()
                edges.add(bytes.span, from: 0, to: cut)
                edges.add(bytes.span, from: cut, to: bytes.count)
                #expect(edges.kind == wanted, "\(text.debugDescription) cut at \(cut)")
            }
        }
    }

    @Test func everyFrameByteByByteAfterAnother() {
        var edges = FrameEdges()
        for (text, wanted) in FrameEdgesTests.frames {
            let bytes = Array(text.utf8)
            for index in bytes.indices { edges.add(bytes.span, from: index, to: index + 1) }
            #expect(edges.kind == wanted, "\(text.debugDescription)")
            edges.clear()
        }
    }

    @Test func aLongChannelNameHidesNeitherWordNorCount() {
        let name = String(repeating: "n", count: 10_000)
        let bytes = Array("*3\r\n$9\r\nsubscribe\r\n$10000\r\n\(name)\r\n:5\r\n".utf8)
        var edges = FrameEdges()
        for start in stride(from: 0, to: bytes.count, by: 7) {
            edges.add(bytes.span, from: start, to: min(start + 7, bytes.count))
        }
        #expect(edges.kind == .confirmation(.channel, count: 5))
    }
}
