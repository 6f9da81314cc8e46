import RESP
import Testing

@testable import Session

private func words(_ text: String) -> [[UInt8]] {
    text.split(separator: " ").map { Array(String($0).replacing("~", with: " ").utf8) }
}

/// Of the users, `default` has the password `secret`, and `bob` has `pw`.
private func judge(_ user: [UInt8], _ password: [UInt8]) -> Bool {
    let pair = (String(decoding: user, as: UTF8.self), String(decoding: password, as: UTF8.self))
    return pair == ("default", "secret") || pair == ("bob", "pw")
}

extension LoginJudgement {
    /// `user, refused, name, reply or forwarded words`, with - for what is not there.
    fileprivate var text: String {
        func shown(_ bytes: [UInt8]?) -> String {
            bytes.map { String(decoding: $0, as: UTF8.self) } ?? "-"
        }
        let end =
            reply.map { shown($0.dropLast(2)) }
            ?? forwarded.map { shown($0) }.joined(separator: " ")
        return "\(shown(user)) \(shown(refused)) \(shown(name)) | \(end)"
    }
}

private func hello(_ text: String, isLoggedIn: Bool = false, _ release: Int? = 700) -> String {
    LoginJudgement.hello(
        words(text), isLoggedIn: isLoggedIn, Dialect(release: release), by: judge
    ).text
}

private func authenticate(_ text: String) -> String {
    LoginJudgement.authenticate(words(text), by: judge).text
}

private let wrong = "-WRONGPASS invalid username-password pair or user is disabled."

private func locked(_ version: String = "") -> String {
    "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO "
        + "\(version)AUTH <user> <pass> option can be used to authenticate the client and select "
        + "the RESP protocol version at the same time"
}

@Suite struct LoginCommandTests {
    @Test func auth() {
        #expect(authenticate("AUTH secret") == "default - - | +OK")
        #expect(authenticate("AUTH default secret") == "default - - | +OK")
        #expect(authenticate("AUTH bob pw") == "bob - - | +OK")
        #expect(authenticate("AUTH pw") == "- default - | \(wrong)")
        #expect(authenticate("AUTH eve pw") == "- eve - | \(wrong)")
        #expect(
            authenticate("AUTH") == "- - - | -ERR wrong number of arguments for 'auth' command")
        #expect(authenticate("AUTH a b c") == "- - - | -ERR syntax error")
        #expect(authenticate("AUTH default secret c") == "- - - | -ERR syntax error")
    }

    @Test func helloOfEveryVersion() {
        for release in [602, 700, 702, 800, nil] {
            let noAuth = "- - - | " + locked((release ?? 0) >= 702 ? "<proto> " : "")
            #expect(hello("HELLO", release) == noAuth)
            #expect(hello("HELLO 2", release) == noAuth)
            #expect(hello("HELLO 3", isLoggedIn: true, release) == "- - - | HELLO 3")
            #expect(hello("HELLO 3 AUTH bob pw", release) == "bob - - | HELLO 3")
            #expect(
                hello("HELLO 3 auth bob pw setname x", release) == "bob - - | HELLO 3 setname x")
            #expect(
                hello("HELLO 3 SETNAME x AUTH bob pw", release) == "bob - - | HELLO 3 SETNAME x")
            #expect(hello("HELLO 3 AUTH bob no", release) == "- bob - | \(wrong)")
            #expect(
                hello("HELLO 3 AUTH bob no", isLoggedIn: true, release) == "- bob - | \(wrong)")
            #expect(
                hello("HELLO 4 AUTH bob pw", release)
                    == "- - - | -NOPROTO unsupported protocol version")
            #expect(
                hello("HELLO x AUTH bob pw", release)
                    == "- - - | -ERR Protocol version is not an integer or out of range")
            #expect(
                hello("HELLO 3 AUTH bob", release)
                    == "- - - | -ERR Syntax error in HELLO option 'AUTH'")
            #expect(
                hello("HELLO 3 SETNAME", release)
                    == "- - - | -ERR Syntax error in HELLO option 'SETNAME'")
            #expect(
                hello("HELLO 3 FOO AUTH bob pw", release)
                    == "- - - | -ERR Syntax error in HELLO option 'FOO'")
            #expect(
                hello("HELLO 2 AUTH\u{0}x bob pw", release) == "bob - - | HELLO 2")
        }
    }

    /// Before 7.2 what stands before the error has taken effect.
    @Test func optionsBeforeAnError() {
        let badOption = "-ERR Syntax error in HELLO option 'FOO'"
        let badName =
            "-ERR Client names cannot contain spaces, newlines or special characters."
        #expect(hello("HELLO 3 AUTH bob pw FOO") == "bob - - | \(badOption)")
        #expect(hello("HELLO 3 AUTH bob pw FOO", 702) == "- - - | \(badOption)")
        #expect(hello("HELLO 3 AUTH bob no FOO") == "- bob - | \(wrong)")
        #expect(hello("HELLO 3 AUTH bob no FOO", 702) == "- - - | \(badOption)")
        #expect(hello("HELLO 3 SETNAME x") == "- - x | \(locked())")
        #expect(hello("HELLO 3 SETNAME x", 702) == "- - - | \(locked("<proto> "))")
        #expect(hello("HELLO 3 SETNAME x AUTH bob no") == "- bob x | \(wrong)")
        #expect(hello("HELLO 3 SETNAME x AUTH bob no", 702) == "- bob - | \(wrong)")
        #expect(hello("HELLO 3 AUTH bob pw SETNAME a~b") == "bob - - | \(badName)")
        #expect(hello("HELLO 3 AUTH bob pw SETNAME a~b", 702) == "- - - | \(badName)")
        #expect(hello("HELLO 3 AUTH bob pw SETNAME a\u{0}~") == "bob - - | \(badName)")
        #expect(
            hello("HELLO 3 AUTH bob pw SETNAME a\u{0}~", 702)
                == "bob - - | HELLO 3 SETNAME a\u{0} ")
        #expect(hello("HELLO 3 AUTH bob no AUTH bob pw") == "- bob - | \(wrong)")
        #expect(hello("HELLO 3 AUTH bob no AUTH bob pw", 702) == "bob - - | HELLO 3")
        #expect(hello("HELLO 3 AUTH bob pw AUTH bob no") == "bob bob - | \(wrong)")
    }

    /// Whatever the words are, no password goes on, and what goes on is a HELLO that is understood.
    @Test func noPasswordGoesOn() {
        var generator = SystemRandomNumberGenerator()
        let all = [
            "AUTH", "auth", "AUTH\u{0}x", "SETNAME", "setname", "bob", "pw", "no", "x", "FOO", "2",
            "3", "", "a~b",
        ]
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...8, using: &generator)
            let options = (0..<count).map { _ in all.randomElement(using: &generator) ?? "" }
            let text = (["HELLO", "3"] + options).map { Array($0.replacing("~", with: " ").utf8) }
            let release = [602, 700, 702, 800].randomElement(using: &generator)
            let isLoggedIn = Bool.random(using: &generator)
            let found = LoginJudgement.hello(
                text, isLoggedIn: isLoggedIn, Dialect(release: release), by: judge)
            guard found.reply == nil else { continue }
            let login = PendingLogin(hello: found.forwarded)
            #expect(login.user == nil && login.isUnderstood, "\(options)")
            #expect(found.user != nil || isLoggedIn, "\(options)")
        }
    }

    private let table = CommandTable()

    private func plan(_ text: String, _ release: Int? = 700) -> String {
        var bytes: [UInt8] = []
        Encode.command(words(text), into: &bytes)
        var scanner = CommandScanner()
        guard
            case .command(let frame) = scanner.scan(
                bytes.span, frameStart: 0, limits: .beforeAuthentication)
        else { return "no frame" }
        let command = table.find(bytes.span, frame)
        switch table.planLoggedOut(command, bytes.span, frame, Dialect(release: release)) {
        case .refuse(let error):
            #expect(error.suffix(2) == [13, 10])
            return String(decoding: error.dropLast(2), as: UTF8.self)
        case let other: return "\(other)"
        }
    }

    @Test func plans() {
        let noAuth = "-NOAUTH Authentication required."
        for release in [602, 700, 702, 800, nil] {
            #expect(plan("GET x", release) == noAuth)
            #expect(plan("GET", release) == "-ERR wrong number of arguments for 'get' command")
            #expect(
                plan("CLIENT", release)
                    == "-ERR wrong number of arguments for 'client' command")
            #expect(
                plan("EXEC", release)
                    == "-EXECABORT Transaction discarded because of: NOAUTH Authentication required."
            )
            #expect(plan("quit x", release) == "quit")
            #expect(plan("Auth", release) == "judge")
            #expect(plan("HELLO 3 x", release) == "judge")
            #expect(plan("POST x", release) == "vanish")
            #expect(plan("SUBSCRIBE x", release) == noAuth)
            #expect(plan("CLIENT REPLY OFF", release) == noAuth)
        }
        #expect(plan("RESET", 602) == noAuth)
        #expect(plan("RESET") == "reset")
        #expect(plan("RESET x") == "-ERR wrong number of arguments for 'reset' command")
        #expect(plan("LMPOP 1 x LEFT") == noAuth)
        #expect(plan("LMPOP 1 x LEFT", 602).hasPrefix("-ERR unknown command `LMPOP`"))
        #expect(plan("FOO a b") == "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' ")
        #expect(plan("CLIENT FOO") == "-ERR unknown subcommand 'FOO'. Try CLIENT HELP.")
        #expect(plan("CLIENT FOO", 602) == noAuth)
        #expect(
            plan("CLIENT SETNAME")
                == "-ERR wrong number of arguments for 'client|setname' command")
        #expect(plan("CLIENT SETNAME", 602) == noAuth)
    }

    /// Nothing that the table has, and nothing that it has not, has a plan of another kind.
    @Test func everyCommand() {
        for info in table.all {
            let name = info.name.replacing("|", with: " ")
            for text in [name, name + " a", name + " a b c d"] {
                let found = plan(text)
                let isJudged = ["auth", "hello"].contains(info.name)
                let isLocal = ["quit", "post", "host:", "reset"].contains(info.name)
                #expect(found.hasPrefix("-") || isJudged || isLocal, "\(text): \(found)")
            }
        }
    }

    @Test func resetForgets() {
        var session = Session(key: .fresh)
        #expect(session.clientUser == nil)
        session.logIn(asClient: Array("bob".utf8))
        #expect(session.clientUser == Array("bob".utf8))
        session.reset(to: .fresh)
        #expect(session.clientUser == nil)
    }
}
