// Looks names up without holding up the loop: the system's resolver may take seconds.

import EventLoop

/// Asks the system's resolver on threads of their own. There is one thread per name at most.
final class NameLookup {
    /// What is looked up.
    struct Question: Hashable, Sendable {
        let host: String
        let port: UInt16
    }

    private struct Reply: Sendable {
        let question: Question
        let answer: NameAnswer
    }

    /// How names are looked up; tests have their own.
    typealias Resolver = @Sendable (Question) -> NameAnswer

    private let mailbox: Mailbox<Reply>
    private let resolver: Resolver
    private var waiting: [Question: [(NameAnswer) -> Void]] = [:]
    private var watch: DescriptorWatch?

    /// Nil when the system has no descriptors left.
    init?(
        loop: EventLoop,
        resolver: @escaping Resolver = { SocketAddress.resolve($0.host, port: $0.port) }
    ) {
        guard let mailbox = Mailbox<Reply>() else { return nil }
        self.mailbox = mailbox
        self.resolver = resolver
        watch = DescriptorWatch(
            descriptor: mailbox.wakeup.descriptor, loop: loop,
            owner: Unmanaged.passUnretained(self).toOpaque(), callback: namesFound)
    }

    /// Looks a name up. `then` is called on the loop, never before this call returns.
    func ask(_ question: Question, then: @escaping (NameAnswer) -> Void) {
        waiting[question, default: []].append(then)
        guard waiting[question]?.count == 1 else { return }
        let (mailbox, resolver) = (mailbox, resolver)
        let error = Threads.start(name: "resolver") {
            mailbox.post(Reply(question: question, answer: resolver(question)))
        }
        if error != 0 {
            let problem = "cannot start a thread: \(System.errorText(error))"
            mailbox.post(
                Reply(question: question, answer: NameAnswer(addresses: [], problem: problem)))
        }
    }

    fileprivate func deliver() {
        for reply in mailbox.takeAll() {
            for then in waiting.removeValue(forKey: reply.question) ?? [] { then(reply.answer) }
        }
    }
}

private func namesFound(_: Int32, _: Int16, _ owner: UnsafeMutableRawPointer?) {
    guard let owner else { return }
    Unmanaged<NameLookup>.fromOpaque(owner).takeUnretainedValue().deliver()
}
