// PAUSE, RESUME, RECONNECT and KILL: what an operator does to a pool and its connections. Workers
// carry it out (OperatorDesk); here are only the words.

import Config
import Proxy
import RESP

enum PoolCommands {
    static let all: [ConsoleCommand] = [
        ConsoleCommand(
            "PAUSE", "pool [MAX 30s] [CLOSE]",
            "sends nothing; answers when quiet", arguments: 1...4
        ) { pause($0) },
        ConsoleCommand("RESUME", "pool", "ends a PAUSE", arguments: 1...1) { call in
            guard let pool = call.pool(at: 0) else { return }
            carryOut(.resume(pool: pool), call)
        },
        ConsoleCommand(
            "RECONNECT", "pool", "replaces upstreams as they get free", arguments: 1...1
        ) { call in
            guard let pool = call.pool(at: 0) else { return }
            carryOut(.reconnect(pool: pool), call)
        },
        ConsoleCommand("KILL CLIENT", "id", "closes a client at once", arguments: 1...1) { call in
            guard let id = id(call) else { return }
            carryOut(.killClient(id), call)
        },
        ConsoleCommand("KILL UPSTREAM", "id", "closes an upstream at once", arguments: 1...1) {
            guard let id = id($0) else { return }
            carryOut(.killUpstream(id), $0)
        },
    ]

    /// How long a pause lasts at most, unless the operator says so; in nanoseconds.
    private static let standardPause: Int64 = 30_000_000_000

    private static func pause(_ call: Call) {
        guard let pool = call.pool(at: 0) else { return }
        var length = standardPause
        var closes = false
        var next = 1
        while next < call.arguments.count {
            switch call.word(next) {
            case "max" where next + 1 < call.arguments.count:
                let text = PlainText.of(call.arguments[next + 1])
                guard let time = Config.duration(text),
                    (1_000_000...OperatorDesk.longestPause).contains(time)
                else {
                    return call.fail("MAX is a duration of at most 1h, such as MAX 30s")
                }
                length = time
                next += 2
            case "close":
                closes = true
                next += 1
            default: return call.fail("not understood: PAUSE pool [MAX 30s] [CLOSE]")
            }
        }
        carryOut(.pause(pool: pool, length: length, closesHolders: closes), call)
    }

    /// Answers and returns nil if the word is no id.
    private static func id(_ call: Call) -> UInt64? {
        guard let id = Word.integer(call.arguments[0], in: 1...Int64.max) else {
            call.fail("an id is a number, as SHOW CLIENTS and SHOW UPSTREAMS have it")
            return nil
        }
        return UInt64(id)
    }

    private static func carryOut(_ request: OperatorRequest, _ call: Call) {
        call.host.desk.carryOut(request) { result in
            switch result {
            case .done(let text): call.reply(.simple(text))
            case .failed(let text): call.reply(.error(text))
            }
        }
    }
}
