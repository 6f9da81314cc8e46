// The reasons for closes against the tables of the manual.

import FoundationEssentials
import Pool
import Testing

@testable import Proxy

/// The root of the project, found by this file's place in it.
private let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

@Suite("Reasons in docs/troubleshooting.md")
struct ReasonTests {
    @Test("each reason has one row, and each row is of a reason")
    func rows() throws {
        let page = try String(
            decoding: Data(contentsOf: root.appending(path: "docs/troubleshooting.md")),
            as: UTF8.self)
        #expect(
            words(of: "## Why an upstream closed", in: page)
                == CloseReason.allCases.map(\.word).sorted())
        #expect(
            words(of: "### Why a client was closed", in: page)
                == ClientCloseReason.allCases.map(\.word).sorted())
    }

    /// The first cells of the rows under a heading, sorted.
    private func words(of heading: String, in page: String) -> [String] {
        let lines = page.split(separator: "\n").drop { $0 != heading }.dropFirst()
        return lines.prefix { !$0.hasPrefix("## ") }.filter { $0.hasPrefix("| `") }
            .map { String($0.dropFirst(3).prefix { $0 != "`" }) }.sorted()
    }
}
