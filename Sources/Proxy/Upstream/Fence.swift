// The bytes of a fence and of its right reply, and the form of the fence for each user of a pool.

import Pool

/// The command that a fence uses.
enum FenceForm: UInt8 {
    case echo
    /// PING with an argument, if ECHO is refused.
    case ping
    /// Both are refused, so this user has no fences.
    case none

    /// The form to try if the server refuses this one.
    var next: FenceForm { self == .echo ? .ping : .none }
}

/// A command with 16 random hexadecimal digits, which the server returns as a bulk. Nobody can make
/// up this reply. If it comes in the fence's place, as many replies came before it as were owed.
struct Fence {
    /// The digits, as a number.
    let digits: UInt64
    let form: FenceForm
    /// How many bytes of the right reply have come.
    private var matched = 0

    /// The digits come from the system's generator, because a script could make up digits that it
    /// can guess.
    init(_ form: FenceForm) {
        var generator = SystemRandomNumberGenerator()
        digits = generator.next()
        self.form = form
    }

    /// A fence that a former program has sent.
    init(digits: UInt64, _ form: FenceForm) {
        self.digits = digits
        self.form = form
    }

    /// The same fence, before its reply.
    init(repeating other: Fence) {
        digits = other.digits
        form = other.form
    }

    /// The length of the reply in bytes.
    static let replyLength = 23
    /// The text for a fence's reply that comes in place of an earlier reply.
    static let tooEarly = "digits of ours came for another command: replies are out of step"

    /// The length of the command in bytes. Both forms have the same.
    static let length = 37

    /// The command. An inline array, so a fence allocates nothing.
    var command: InlineArray<37, UInt8> {
        let head: StaticString =
            form == .ping ? "*2\r\n$4\r\nPING\r\n$16\r\n" : "*2\r\n$4\r\nECHO\r\n$16\r\n"
        let start = head.utf8Start
        return InlineArray { index in
            let place = index - head.utf8CodeUnitCount
            return place < 0 ? start[index] : tail(place)
        }
    }

    /// The command in an array.
    var bytes: [UInt8] { command.span.withUnsafeBytes { Array($0) } }

    /// Whether the next bytes of the reply are the right ones.
    mutating func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let head: StaticString = "$16\r\n"
        for byte in bytes {
            let place = matched - head.utf8CodeUnitCount
            guard byte == (place < 0 ? head.utf8Start[matched] : tail(place)) else { return false }
            matched += 1
        }
        return true
    }

    /// The digits and the line end, byte by byte.
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

/// The form that each user of a pool may send, learnt from refusals.
struct FenceForms {
    private struct Known {
        let form: FenceForm
        let since: MonotonicTime
    }
    private var forms: [UInt32: Known] = [:]

    /// The form for a user, by its number in `PoolKey`: ECHO until the server refuses it.
    subscript(user: UInt32) -> FenceForm { forms[user]?.form ?? .echo }

    /// Whether the server has answered a fence of this user.
    func isKnown(to user: UInt32) -> Bool { forms[user] != nil }

    /// The server accepts this form from the user.
    mutating func found(_ form: FenceForm, for user: UInt32, now: MonotonicTime) {
        if let known = forms[user], known.form == form { return }
        forms[user] = Known(form: form, since: now)
    }

    /// The server does not accept this form. Another fence in flight may have shown so before.
    mutating func refused(_ form: FenceForm, to user: UInt32, now: MonotonicTime) {
        if self[user] == form { forms[user] = Known(form: form.next, since: now) }
    }

    /// Forgets all users but these.
    mutating func keep(_ users: Set<UInt32>) {
        forms = forms.filter { users.contains($0.key) }
    }

    /// Forgets a refusal that is at least `age` old, so that ECHO is tried again: the user may have
    /// been given the right.
    mutating func forget(_ user: UInt32, olderThan age: Int64, now: MonotonicTime) {
        guard let known = forms[user], known.form != .echo, now - known.since >= age else { return }
        forms[user] = nil
    }
}
