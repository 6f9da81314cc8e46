import FoundationEssentials
import Testing

@testable import Config

/// The root of the project, found by this file's place in it.
private let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

@Suite struct PrintoutTests {
    static let rich = """
        defaults:
          poolTimeout: 1s
          denyCommands:
            - SCRIPT DEBUG
            - keys
        pools:
          main:
            listen: ["*:6380", "[::1]:6381", unix:/run/x.sock]
            upstream: redis://app@h/2
            passwordFile: /pw
            maxOpen: 9
            denyCommands: []
            allowUnauthenticated: true
          no:
            listen: 127.0.0.1:7000
            upstream: "[::1]:7001"
        log: {level: notice}
        """

    @Test func effectiveYAMLSaysWhereValuesComeFrom() throws {
        let text = try #require(Config.effectiveYAML(text: PrintoutTests.rich, file: "f.yaml"))
        let lines = Set(text.split(separator: "\n").map(words))
        for expected in [
            "- \"*:6380\" # f.yaml:8",
            "username: app # f.yaml:9",
            "passwordFile: /pw # f.yaml:10",
            "maxOpen: 9 # f.yaml:11",
            "maxPinned: 7 # default: seven eighths of maxOpen, rounded up, at least 2 below it "
                + "(1 of 2, 0 of 1)",
            "poolTimeout: 1s # f.yaml:2, defaults",
            "socketMode: \"0660\" # default",
            "denyCommands: [] # f.yaml:12",
            "denyCommands:",
            "- SCRIPT DEBUG # f.yaml:4, defaults",
            "- KEYS # f.yaml:5, defaults",
            "\"no\":",
            "maxClients: auto # default",
            "level: notice # f.yaml:17",
        ] {
            #expect(lines.contains(words(expected[...])))
        }
    }

    /// A line without its indentation and the width of its gaps.
    private func words(_ line: Substring) -> [Substring] {
        line.split(separator: " ")
    }

    @Test(arguments: [rich, DefaultsTests.smallest, Config.sampleFile()])
    func effectiveYAMLIsAValidFileWithTheSameMeaning(_ text: String) throws {
        let files = ["/pw": "hunter2"]
        let printed = try #require(Config.effectiveYAML(text: text, file: file))
        #expect(try valid(printed, files: files) == valid(text, files: files))
        #expect(!printed.contains("hunter2"))
        for key in Key.allCases {
            #expect(printed.contains(" \(key.name):") || printed.contains("\n\(key.name):"))
        }
    }

    @Test func effectiveYAMLSaysOnceThatAListIsTheDefault() throws {
        let text = try #require(
            Config.effectiveYAML(text: DefaultsTests.smallest, file: "f.yaml"))
        let lines = text.split(separator: "\n").map(words)
        let head = try #require(lines.firstIndex(of: words("denyCommands: # default")))
        #expect(
            lines[(head + 1)...].prefix { $0.first == "-" }.map { $0.joined(separator: " ") } == [
                "- SYNC", "- PSYNC", "- REPLCONF", "- DEBUG", "- SCRIPT DEBUG", "- MODULE LOAD",
                "- MODULE LOADEX", "- MODULE UNLOAD",
            ])
    }

    @Test(arguments: [
        ("a b", "a b"), ("/a b", "/a b"), ("a: b", "\"a: b\""), ("a b:", "\"a b:\""),
        ("a -b", "\"a -b\""), ("a ", "\"a \""), (" a", "\" a\""), ("a  b", "\"a  b\""),
        ("a #b", "\"a #b\""), ("No", "\"No\""), ("", "\"\""), ("script|debug", "\"script|debug\""),
    ])
    func textIsQuotedWhereYAMLCouldMisreadIt(text: String, printed: String) {
        #expect(quotedYAML(text) == printed)
    }

    @Test func tablesOfTheReferenceHaveNoStrayColumns() throws {
        for row in Config.referencePage().split(separator: "\n") where row.hasPrefix("| ") {
            #expect(row.split(separator: "|").count == 5, "\(row)")
        }
    }

    @Test func invalidTextHasNoEffect() {
        #expect(Config.effectiveYAML(text: pool("maxOpen: x"), file: file) == nil)
    }

    @Test func passwordsAreNotInDescriptions() throws {
        let config = try valid(PrintoutTests.rich, files: ["/pw": "hunter2"])
        var dumped = ""
        dump(config, to: &dumped)
        for text in [String(describing: config), String(reflecting: config), dumped] {
            #expect(!text.contains("hunter2"))
            #expect(text.contains("password ***"))
        }
    }

    @Test func sampleFileMeansTheDefaults() throws {
        #expect(try valid(Config.sampleFile()) == valid(DefaultsTests.smallest))
        let sample = Config.sampleFile()
        // Taking the comments off the derived keys makes them explicit, with the same values.
        let explicit = sample.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.contains("# unless set") ? $0.replacing("  # m", with: "  m") : $0[...] }
            .joined(separator: "\n")
        #expect(explicit != sample)
        #expect(try valid(explicit) == valid(DefaultsTests.smallest))
        for key in Key.allCases {
            #expect(sample.contains(" \(key.name):") || sample.contains("\n\(key.name):"))
        }
    }

    @Test func schemaHasEachKeyOnce() {
        #expect(Schema.keys.map(\.key.name).sorted() == Key.allCases.map(\.name).sorted())
        for spec in Schema.keys {
            #expect(spec.doc.count <= 100 && !spec.doc.hasSuffix("."))
            #expect(Config.referencePage().contains("| `\(spec.key.name)` |"))
        }
    }

    /// The files in the tree are what the schema generates. With REDPOOL_REGENERATE=1 in the
    /// environment, the test writes them instead.
    @Test(arguments: [
        ("config/redpool.yaml", Config.sampleFile()),
        ("docs/configuration.md", Config.referencePage()),
    ])
    func generatedFilesAreCurrent(path: String, generated: String) throws {
        let place = root.appending(path: path).path
        if ProcessInfo.processInfo.environment["REDPOOL_REGENERATE"] == "1" {
            try Data(generated.utf8).write(to: URL(filePath: place))
        }
        let data = try Data(contentsOf: URL(filePath: place))
        #expect(String(decoding: data, as: UTF8.self) == generated)
    }
}
