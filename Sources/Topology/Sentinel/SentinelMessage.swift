// The messages of a Sentinel to its subscribers, and what ROLE says. The texts are the same in
// Redis 6.2.14 to 8.0.2 and Valkey 8.0.1 and 8.1.1.

import RESP

/// What a message of a Sentinel means for one primary. A message has no epoch, so it decides
/// nothing: its sender is asked.
package enum SentinelMessage: Equatable, Sendable {
    /// Another primary may be named from now on: the sender is asked at once.
    case switched
    /// Something about the primary has changed: the sender is asked soon.
    case changed

    /// The channels to subscribe to. The leader of a failover publishes +promoted-slave 70 to 100
    /// ms before +switch-master, which waits for the replicas; its answers name the new primary
    /// from then on. The others publish +switch-master alone.
    package static let channels = [
        "+switch-master", "+promoted-slave", "+sdown", "-sdown", "+odown", "-odown", "+slave",
        "+reboot", "+sentinel", "+reset-master", "+monitor", "-monitor",
    ]

    /// The commands that subscribe to them. None is longer than ten words: before a login a server
    /// answers a longer one with a protocol error, and never says NOAUTH.
    package static let subscriptions: [[[UInt8]]] = stride(from: 0, to: channels.count, by: 9).map {
        let words = ["SUBSCRIBE"] + channels[$0..<min($0 + 9, channels.count)]
        return words.map { Array($0.utf8) }
    }

    /// Reads `message`, channel, text. Nil for any other reply, and for messages about another
    /// primary. The texts are
    ///
    ///     +switch-master    mymaster 127.0.0.1 27100 127.0.0.1 27101
    ///     +sdown, +monitor  master mymaster 127.0.0.1 27101 [quorum 2]
    ///     +slave, +sentinel slave 127.0.0.1:27101 127.0.0.1 27101 @ mymaster 127.0.0.1 27100
    package init?(_ reply: [UInt8], about name: [UInt8]) {
        guard let texts = ReplyTexts.list(reply), texts.count == 3,
            Word(Array(texts[0])) == "message"
        else { return nil }
        let channel = Word(Array(texts[1]))
        guard SentinelMessage.contains(texts[2], name) else { return nil }
        self = channel == "+switch-master" || channel == "+promoted-slave" ? .switched : .changed
    }

    /// Whether `name` stands in the text between blanks or its ends. A name may have blanks itself.
    /// A name that is also a word of the texts, such as `master`, costs questions too many.
    private static func contains(_ text: ArraySlice<UInt8>, _ name: [UInt8]) -> Bool {
        let blank = UInt8(ascii: " ")
        guard !name.isEmpty, text.count >= name.count else { return false }
        for start in text.startIndex...(text.endIndex - name.count) {
            let end = start + name.count
            guard start == text.startIndex || text[start - 1] == blank,
                end == text.endIndex || text[end] == blank
            else { continue }
            if Array(text[start..<end]) == name { return true }
        }
        return false
    }
}

/// What arrives on a connection that is subscribed to `SentinelMessage.channels`, in RESP2.
package enum SubscriptionReply: Equatable, Sendable {
    /// A channel is subscribed to.
    case subscribed
    /// A message about the name.
    case message(SentinelMessage)
    /// A message about another primary.
    case otherMessage
    /// The answer to PING.
    case pong

    /// Nil for any other reply, errors included.
    package init?(_ reply: [UInt8], about name: [UInt8]) {
        guard let texts = ReplyTexts.list(reply), let first = texts.first else { return nil }
        switch (Word(Array(first)), texts.count) {
        case ("subscribe", 3): self = .subscribed
        case ("pong", 2): self = .pong
        case ("message", 3):
            self = SentinelMessage(reply, about: name).map { .message($0) } ?? .otherMessage
        default: return nil
        }
    }
}

/// What a server says of itself in ROLE.
package enum ServerRole: Equatable, Sendable {
    case primary
    /// A replica, a Sentinel, or anything else that is not a primary.
    case other

    /// Reads ROLE: `["master", offset, replicas]`, `["slave", host, port, state, offset]`,
    /// `["sentinel", names]`. Nil for any other reply, errors included.
    package init?(_ reply: [UInt8]) {
        var cursor = ReplyCursor(from: 0)
        guard let outer = cursor.next(reply.span), let count = ReplyTexts.elements(of: outer),
            count > 0, let first = cursor.next(reply.span),
            first.type == UInt8(ascii: "$") || first.type == UInt8(ascii: "+"), !first.isNull
        else { return nil }
        self = Word(Array(reply[first.range])) == "master" ? .primary : .other
    }
}
