import Testing

@testable import Config

@Suite struct DocumentTests {
    @Test(arguments: [
        Golden(
            "pools: &p {}\n", "1:8: anchors (&) are not supported"),
        Golden(
            "pools: *p\n",
            "1:8: aliases (*) are not supported; text that begins with * needs quotes (\"*:6380\")"
        ),
        Golden(
            "pools: {main: {listen: *:6380, upstream: h:1}}\n",
            "1:24: aliases (*) are not supported; text that begins with * needs quotes "
                + "(\"*:6380\")"),
        Golden(
            "maxClients: !!int 3\n",
            "1:13: tags (!) are not supported; text that begins with ! needs quotes"),
        Golden("maxClients: |\n  & 3\n", "1:13: block text (| and >) is not supported"),
        Golden("%YAML 1.1\n---\na: b\n", "1:1: YAML directives (%) are not supported"),
        Golden(pool("<<: {}"), "5:5: pools.main.<<: merge keys (<<) are not supported"),
        Golden(pool() + "---\na: b\n", "5:1: the file has a second document; only one is allowed"),
        Golden(
            pool("maxOpen: 3", "maxIdle: 2", "maxOpen: 4"),
            "7:5: maxOpen appears twice (first at line 5)"),
        Golden(
            "maxClients: 3\nmaxClients: 3\n" + pool(),
            "2:1: maxClients appears twice (first at line 1)"),
        Golden(
            "pools: {1: {listen: 127.0.0.1:1, upstream: h:1}, \"1\": {}}\n",
            "1:50: 1 appears twice (first at column 9)"),
        Golden(
            "a: 1\nb: 2\na: 3\nb: 4\n" + pool(), "3:1: a appears twice (first at line 1)",
            "4:1: b appears twice (first at line 2)"),
        Golden("---", "1:4: the file has to be a mapping, such as pools: ..."),
        Golden("? [a]\n: b\n", "1:3: a key has to be plain text"),
        Golden(
            "pools:\n\tmain: 3\n",
            "2:1: found character that cannot start any token (indent with spaces, not with tabs)"),
        Golden(
            "pools:\n  main:\n    listen: [::1]:6380\n",
            "3:14: did not find expected node content "
                + "(an IPv6 address needs quotes: \"[::1]:6380\")"
        ),
        Golden(
            "a: \"b\n",
            "2:1: found unexpected end of stream while scanning a quoted scalar that began at 1:4"),
        Golden("a: b\u{1}\n", "1:5: control characters are not allowed"),
    ])
    func golden(_ golden: Golden) {
        #expect(problems(golden.text) == golden.problems)
    }

    @Test func indicatorsInsideTextAreText() throws {
        let text = """
            # *comment &with !all |of >them
            pools:
              main:
                listen: "*:6380" # *x
                upstream: 'unix:/a&b!c'
                passwordFile: "/p*w \\"&x"
                allowUnauthenticated: true
            """
        let pool = try valid(text, files: ["/p*w \"&x": "x"]).pools[0]
        #expect(pool.listen == [.tcp(host: "*", port: 6380)])
        #expect(pool.upstream == .unix(path: "/a&b!c"))
    }

    @Test func longFilesAreRefused() {
        let comment = "#" + String(repeating: "x", count: Document.sizeLimit)
        #expect(problems(comment) == ["1:1: the file is longer than 1 MiB"])
        let fits = DefaultsTests.smallest + "\n#"
        let filled = fits + String(repeating: "x", count: Document.sizeLimit - fits.utf8.count)
        #expect(problems(filled) == [])
    }

    @Test(arguments: ["[", "{a: ", "- ", "? ", "[{a: "])
    func deepNestingIsRefused(_ opening: String) {
        let text = String(repeating: opening, count: 100_000)
        #expect(problems(text).count == 1)
    }

    @Test func byteOrderMarkAndCarriageReturnsAreRead() throws {
        let text = "\u{FEFF}" + pool("maxOpen: 3").split(separator: "\n").joined(separator: "\r\n")
        #expect(try valid(text).pools[0].maxOpen == 3)
        #expect(
            problems(text + "\r\n    maxIdle: x")
                == ["6:14: pools.main.maxIdle: x is not a whole number"])
    }

    @Test func textThatIsNotUTF8HasAPlace() {
        let problem = Config.encodingProblem(in: Array("a: b\nc: é".utf8) + [0xFF])
        #expect(problem.rendered(file: "f") == "f:2:5: the file is not UTF-8")
    }

    @Test func problemsAreSortedAndAtMostFifty() {
        let lines = (1...60).map { "    bad\($0): 1" }.joined(separator: "\n")
        let text = "zzz: 1\n" + pool() + lines + "\n"
        let found = problems(text)
        #expect(found.count == 50)
        #expect(found.first == "1:1: zzz: unknown key")
        #expect(found.last == "54:5: pools.main.bad49: unknown key")
    }

    @Test func errorsGoBeforeWarningsWhenThereIsNoRoom() {
        let text = pool("pingInterval: 5m") + (1...60).map { "bad\($0): 1\n" }.joined()
        let found = problems(text)
        #expect(found.count == 50)
        #expect(!found.contains { $0.contains("warning") })
    }

    @Test func unprintableTextIsShownSafely() {
        let found = problems(pool("\"a\\nb\": 1"))
        #expect(found == ["5:5: pools.main.a?b: unknown key"])
    }
}
