// Commands that change something. Access lets only root and the daemon's user give them, and each
// has a line in the log.

import Config
import Logging
import RESP

enum ChangeCommands {
    static let all: [ConsoleCommand] = [
        ConsoleCommand(
            "LOG LEVEL", "level [FOR 10m]",
            "error to debug; falls back", arguments: 1...3
        ) { level($0) },
        ConsoleCommand(
            "LOG CLIENTS", "on|off [FOR 10m]",
            "logs connects; falls back", arguments: 1...3
        ) { clients($0) },
        ConsoleCommand("RELOAD", "applies a changed configuration") { reload($0) },
        ConsoleCommand(
            "UPGRADE", "[CUT]", "puts a new program under clients",
            arguments: 0...1
        ) { upgrade($0) },
        ConsoleCommand("SHUTDOWN", "[NOW]", "drains and ends; NOW: at once", arguments: 0...1) {
            shutDown($0)
        },
    ]

    private static func reload(_ call: Call) {
        call.host.reload { isDone, messages in
            if !isDone {
                call.fail(messages.joined(separator: "; "))
            } else if messages.isEmpty {
                call.reply(.ok)
            } else {
                call.reply(.lines(messages))
            }
        }
    }

    private static func upgrade(_ call: Call) {
        let cuts = call.word(0) == "cut"
        guard cuts || call.arguments.isEmpty else { return call.fail("UPGRADE [CUT]") }
        call.host.upgrade(cuts, call.connection.asCaller) { call.fail($0) }
    }

    private static func shutDown(_ call: Call) {
        let isNow = call.word(0) == "now"
        guard isNow || call.arguments.isEmpty else { return call.fail("SHUTDOWN [NOW]") }
        // Written before the process may end.
        call.reply(.ok)
        call.host.shutDown(isNow)
    }

    private static func level(_ call: Call) {
        let given = call.word(0)
        guard
            let level = LogConfig.Level.allCases.first(where: {
                Word(Array($0.rawValue.utf8)) == given
            })
        else {
            let all = LogConfig.Level.allCases.map(\.rawValue).joined(separator: ", ")
            return call.fail("there is no such level: the levels are \(all)")
        }
        guard let time = time(call) else { return }
        call.console.logOverride.setLevel(level, for: time)
        call.reply(.ok)
    }

    private static func clients(_ call: Call) {
        let isOn = call.word(0) == "on"
        guard isOn || call.word(0) == "off" else { return call.fail("LOG CLIENTS on or off") }
        guard let time = time(call) else { return }
        call.console.logOverride.setClients(isOn, for: time)
        call.reply(.ok)
    }

    /// The time behind FOR in nanoseconds, or ten minutes. Answers and returns nil if it is not
    /// understood.
    private static func time(_ call: Call) -> Int64? {
        if call.arguments.count == 1 { return LogOverride.standardTime }
        let text = PlainText.of(call.arguments.last ?? [])
        guard call.arguments.count == 3, call.word(1) == "for",
            let time = Config.duration(text), (1_000_000...86_400_000_000_000).contains(time)
        else {
            call.fail("the time is FOR and a duration of at most 24h, such as FOR 10m")
            return nil
        }
        return time
    }
}
