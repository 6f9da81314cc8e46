import Logging
import Testing

@testable import Telemetry

@Suite struct LogControlTests {
    @Test func itHasWhatItWasGiven() {
        let control = LogControl(LogConfiguration(level: .info, format: .text))
        #expect(control.level == .info && control.format == .text)
        for level in Logger.Level.allCases {
            for format in LogFormat.allCases {
                control.set(LogConfiguration(level: level, format: format))
                #expect(control.level == level && control.format == format)
            }
        }
    }

    @Test func allLoggersFollowIt() {
        let control = LogControl(LogConfiguration(level: .warning, format: .logfmt))
        let logger = Logger(label: "a") { _ in
            StderrLogHandler(control: control, sink: LogSink())
        }
        let copy = logger
        #expect(copy.logLevel == .warning)
        control.set(LogConfiguration(level: .debug, format: .logfmt))
        #expect(copy.logLevel == .debug && logger.logLevel == .debug)
    }
}
