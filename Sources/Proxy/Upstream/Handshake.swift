// The steps of a handshake; UpstreamConnection+Handshake sends and judges them.

import Config
import Pool
import RESP

/// A sequence of commands. Each reply is validated before the next command is sent.
struct Handshake {
    enum Step {
        case authenticate(user: UInt32)
        case hello(UInt8)
        /// The server must say that it is a primary.
        case primary
        /// The server must say that it is a replica: clients read there.
        case replica
        case select(UInt32)
        /// The first fence; PING if this user has no fences.
        case fence(FenceForm)
        case information
        case timeout
        case outputLimit
        case transactions
        case role
        case clientLine
        /// A replica of a cluster then answers reads.
        case readOnly
        case setName([UInt8])
        case setLibrary(StaticString, [UInt8])
    }

    enum Purpose {
        /// A new connection for the pool.
        case dial
        /// An idle connection moves to another key.
        case convert(PoolKey)
        /// A connection gets the name of its pinned client before the client's first command.
        case prepare(ClientConnection)
        /// Earlier questions are asked again, behind a PING of Redpool's.
        case lookAgain
        /// A connection that a former program had idle shows who answers, as a new one does.
        case takeOver
    }

    var purpose = Purpose.dial
    var steps: [Step] = []
    var index = 0
    /// The command of the current step, unless it is a fence.
    var sent: [UInt8] = []
    /// SELECT is sent before the login of a client's user, which may have no right to it.
    var selectsEarly = false
    /// The form of the fence that this server accepts.
    var form: FenceForm?

    /// Longer than any answer of a server, in bytes. The end of a longer one is not waited for.
    static let longestAnswer = 64 << 10

    /// What the first connection to a server asks, behind INFO.
    static let questions = [Step.timeout, .outputLimit, .transactions, .role, .clientLine]
    /// What can change while a server runs.
    static let changing = [Step.timeout, .outputLimit, .transactions, .role]

    var isFirst: Bool {
        if case .dial = purpose { return true }
        return false
    }

    /// Repeats a SELECT that was refused before the login behind the login. Returns false if the
    /// login is done.
    mutating func postponeSelect() -> Bool {
        guard selectsEarly, case .select = current else { return false }
        selectsEarly = false
        steps.append(steps[index])
        return true
    }

    var current: Step? { index < steps.count ? steps[index] : nil }

    /// The command of the current step, for log lines.
    var currentName: String {
        switch current {
        case .authenticate: "AUTH"
        case .hello: "HELLO"
        case .select: "SELECT"
        case .fence(.echo): "ECHO"
        case .fence: "PING"
        case .information: "INFO"
        case .timeout: "CONFIG GET timeout"
        case .outputLimit: "CONFIG GET client-output-buffer-limit"
        case .transactions: "COMMAND INFO"
        case .role, .primary, .replica: "ROLE"
        case .clientLine: "CLIENT INFO"
        case .readOnly: "READONLY"
        case .setName: "CLIENT SETNAME"
        case .setLibrary: "CLIENT SETINFO"
        case nil: "the handshake"
        }
    }
}
