import Testing

@testable import Config

@Suite struct SecretTests {
    @Test func equality() {
        let one: Secret = "hunter2"
        #expect(one == Secret(Array("hunter2".utf8)) && one.matches(Array("hunter2".utf8)))
        for other in ["", "hunter", "hunter3", "hunter22", "Hunter2"] {
            #expect(one != Secret(Array(other.utf8)) && !one.matches(Array(other.utf8)))
        }
        #expect(Secret("") == "" && one.bytes == Array("hunter2".utf8) && one.count == 7)
    }

    @Test func noDescriptionHasIt() {
        let one: Secret = "hunter2"
        var dumped = ""
        dump(one, to: &dumped)
        for text in ["\(one)", String(reflecting: one), dumped] {
            #expect(!text.contains("hunter2"))
        }
    }

    @Test func wiped() {
        var bytes = Array("hunter2".utf8)
        Secret.wipe(&bytes)
        #expect(bytes == [0, 0, 0, 0, 0, 0, 0])
    }
}
