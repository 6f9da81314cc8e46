import Testing

@testable import Config

/// Seeded mutations of valid files: parsing never traps, and what is refused is refused with a
/// place inside the file.
@Suite struct MutationTests {
    private static let pieces = [
        "\n", "\r", "\t", " ", ":", ": ", "- ", "? ", "#", " #", "[", "]", "{", "}", ",", "\"", "'",
        "&a", "*a", "!t", "|", ">", "%", "@", "`", "---\n", "...\n", "<<: ", "\\", "\u{85}",
        "\u{2028}", "\u{FEFF}", "\u{0}", "\u{7F}", "é", "😀", "null", "~", "-", "0", "99999999999",
        "s", "ms", "maxOpen", "pools:", "defaults:\n", "unix:", "redis://", "[::1]:1", "a: &b c\n",
    ]

    @Test(arguments: 0..<8)
    func mutatedFilesGiveAValueOrAPlace(seed: UInt64) {
        var generator = SplitMix(state: seed)
        let bases = [PrintoutTests.rich, DefaultsTests.smallest, Config.sampleFile()]
            .map { Array($0.unicodeScalars) }
        for round in 0..<400 {
            var scalars = bases[round % bases.count]
            for _ in 0...Int.random(in: 0..<4, using: &generator) {
                MutationTests.mutate(&scalars, using: &generator)
            }
            var view = String.UnicodeScalarView()
            view.append(contentsOf: scalars)
            check(String(view))
        }
    }

    private func check(_ text: String) {
        switch parse(text, files: ["/pw": "x"]) {
        case .valid(let config, _):
            #expect(!config.pools.isEmpty)
            #expect(Config.effectiveYAML(text: text, file: file) != nil)
        case .invalid(let problems):
            #expect(problems.contains { $0.severity == .error })
            #expect(problems.count <= 50)
            let lines = TextLines(text)
            for problem in problems {
                let position = Position(line: problem.line, column: problem.column)
                #expect(
                    lines.clamped(position) == position, "\(problem) in \(text.debugDescription)")
                #expect(!problem.message.isEmpty && !problem.message.contains("\n"))
            }
        }
    }

    private static func mutate(
        _ scalars: inout [Unicode.Scalar], using generator: inout SplitMix
    ) {
        let place = Int.random(in: 0...scalars.count, using: &generator)
        let length = min(scalars.count - place, Int.random(in: 0..<20, using: &generator))
        switch Int.random(in: 0..<5, using: &generator) {
        case 0:
            scalars.removeSubrange(place..<(place + length))
        case 1:
            let piece = pieces.randomElement(using: &generator) ?? ""
            scalars.insert(contentsOf: Array(piece.unicodeScalars), at: place)
        case 2:
            let copy = Array(scalars[place..<(place + length)])
            let target = Int.random(in: 0...scalars.count, using: &generator)
            scalars.insert(contentsOf: copy, at: target)
        case 3:
            let piece = pieces.randomElement(using: &generator) ?? ""
            scalars.replaceSubrange(place..<(place + length), with: Array(piece.unicodeScalars))
        default:
            scalars.removeLast(scalars.count - place)
        }
    }
}
