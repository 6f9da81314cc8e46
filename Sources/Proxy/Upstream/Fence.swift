// The bytes of a fence and of its one right reply, and in which form a pool's users may send it.

import Pool

/// How a fence is put.
enum FenceForm: UInt8 {
    case echo
    /// PING with an argument, where ECHO is refused.
    case ping
    /// Both are refused: there are no fences.
    case none

    /// What is tried when the server does not know this one.
    var next: FenceForm { self == .echo ? .ping : .none }
}

/// A command whose reply nobody can make up: 16 random hexadecimal digits, sent back as a bulk. If
/// they come in the fence's place, the replies before it were as many as were expected.
struct Fence {
    /// The digits, as a number.
    let digits: UInt64
    let form: FenceForm
    /// Bytes of the right reply that have come.
    private var matched = 0

    /// New digits of the system's generator: a script can make up what it can guess.
    init(_ form: FenceForm) {
        var generator = SystemRandomNumberGenerator()
        digits = generator.next()
        self.form = form
    }

    /// The same fence, of whose reply nothing has come.
    init(repeating other: Fence) {
        digits = other.digits
        form = other.form
    }

    /// The length of the reply.
    static let replyLength = 23
    /// Why a connection ends where it comes in the place of a reply before it.
    static let tooEarly = "digits of ours came for another command: replies are out of step"

    /// The length of the command. Both forms have the same.
    static let length = 37

    /// The command, in memory of its own size: no fence allocates.
    var command: InlineArray<37, UInt8> {
        let head: StaticString =
            form == .ping ? "*2\r\n$4\r\nPING\r\n$16\r\n" : "*2\r\n$4\r\nECHO\r\n$16\r\n"
        let start = head.utf8Start
        return InlineArray { index in
            let place = index - head.utf8CodeUnitCount
            return place < 0 ? start[index] : tail(place)
        }
    }

    /// A copy of it.
    var bytes: [UInt8] { command.span.withUnsafeBytes { Array($0) } }

    /// Whether the next bytes of the reply are those of the right one.
    mutating func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let head: StaticString = "$16\r\n"
        for byte in bytes {
            let place = matched - head.utf8CodeUnitCount
            guard byte == (place < 0 ? head.utf8Start[matched] : tail(place)) else { return false }
            matched += 1
        }
        return true
    }

    /// The digits and the end of the line behind them, byte by byte.
    private func tail(_ place: Int) -> UInt8 {
        switch place {
        case 0..<16:
            let digit = UInt8(truncatingIfNeeded: digits >> UInt64(60 - 4 * place)) & 15
            return digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
        case 16: return 13
        default: return 10
        }
    }
}

/// The forms that the users of a pool may send, as their refusals have shown.
struct FenceForms {
    private struct Known {
        let form: FenceForm
        let since: MonotonicTime
    }
    private var forms: [UInt32: Known] = [:]

    /// The form for a user, by his number in `PoolKey`. ECHO unless the server has refused it.
    subscript(user: UInt32) -> FenceForm { forms[user]?.form ?? .echo }

    /// The server has been asked which form it lets a user send.
    func isKnown(to user: UInt32) -> Bool { forms[user] != nil }

    /// The server lets a user send this form.
    mutating func found(_ form: FenceForm, for user: UInt32, now: MonotonicTime) {
        if let known = forms[user], known.form == form { return }
        forms[user] = Known(form: form, since: now)
    }

    /// The server has refused a form for good; others in flight may have been refused before.
    mutating func refused(_ form: FenceForm, to user: UInt32, now: MonotonicTime) {
        if self[user] == form { forms[user] = Known(form: form.next, since: now) }
    }

    /// Forgets all users but these.
    mutating func keep(_ users: Set<UInt32>) {
        forms = forms.filter { users.contains($0.key) }
    }

    /// A user may have got a right since he was refused it, `age` ago or longer: ECHO is tried again.
    mutating func forget(_ user: UInt32, olderThan age: Int64, now: MonotonicTime) {
        guard let known = forms[user], known.form != .echo, now - known.since >= age else { return }
        forms[user] = nil
    }
}
