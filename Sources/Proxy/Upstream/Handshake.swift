// The steps of a handshake: see UpstreamConnection+Handshake.

import Config
import Pool
import RESP

/// A sequence of commands, each with its own idea of a good answer.
struct Handshake {
    enum Step {
        case authenticate(user: UInt32)
        case hello(UInt8)
        case select(UInt32)
        /// The first fence; where there are none, PING.
        case fence(FenceForm)
        case information
        case timeout
        case outputLimit
        case transactions
        case clientLine
        case setName([UInt8])
        case setLibrary(StaticString, [UInt8])
    }

    enum Purpose {
        /// A fresh connection, for the pool.
        case dial
        /// An idle connection moves to another key.
        case convert(PoolKey)
        /// A pinned client's own name comes before its first command.
        case prepare(ClientConnection)
        /// What was asked before is asked again, behind a PING of ours.
        case lookAgain
    }

    var purpose = Purpose.dial
    var steps: [Step] = []
    var index = 0
    /// The command of the current step, unless that is a fence.
    var sent: [UInt8] = []
    /// SELECT comes before the login of a client's user, who may not have the right to it.
    var selectsEarly = false
    /// The form of the fence that this server has shown to know.
    var form: FenceForm?

    /// More than any server answers to what is asked here; what is longer is not waited for.
    static let longestAnswer = 64 << 10

    /// What the first connection to a server asks, behind INFO.
    static let questions = [Step.timeout, .outputLimit, .transactions, .clientLine]
    /// What can change while a server runs.
    static let changing = [Step.timeout, .outputLimit, .transactions]

    var isFirst: Bool {
        if case .dial = purpose { return true }
        return false
    }

    /// Has a SELECT that was refused before the login tried again after it: false when that is
    /// over.
    mutating func postponeSelect() -> Bool {
        guard selectsEarly, case .select = current else { return false }
        selectsEarly = false
        steps.append(steps[index])
        return true
    }

    var current: Step? { index < steps.count ? steps[index] : nil }

    /// The command of the current step, for people.
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
        case .clientLine: "CLIENT INFO"
        case .setName: "CLIENT SETNAME"
        case .setLibrary: "CLIENT SETINFO"
        case nil: "the handshake"
        }
    }
}
