import Pool
import Testing

@testable import Session

@Suite struct ReplyModeTests {
    @Test func replyModes() {
        let modes: [ReplyMode] = [.on, .off, .skipNext]
        // From, asked for, and what is then in force.
        let wanted: [[ReplyMode]] = [
            [.on, .off, .skipNext], [.on, .off, .off], [.on, .off, .skipNext],
        ]
        for (from, row) in zip(modes, wanted) {
            for (asked, result) in zip(modes, row) {
                var session = Session(key: .fresh)
                session.setReplyMode(from)
                session.setReplyMode(asked)
                #expect(session.replyMode == result, "\(from) then \(asked)")
            }
        }
    }

    @Test func aSkipHidesOneReplyAndOffHidesAll() {
        var session = Session(key: .fresh)
        var hidden = [session.takeSilence()]
        session.setReplyMode(.skipNext)
        hidden += [session.takeSilence(), session.takeSilence()]
        session.setReplyMode(.off)
        hidden += [session.takeSilence(), session.takeSilence()]
        session.reset(to: .fresh)
        hidden.append(session.takeSilence())
        #expect(hidden == [false, true, false, true, true, false])
    }
}
