import Glibc
import Logging
import Testing

@testable import Telemetry

/// Both ends of a pipe, closed at the end of a test.
private final class Pipe {
    let reader: Int32
    let writer: Int32

    init() {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0)
        (reader, writer) = (ends[0], ends[1])
        _ = fcntl(reader, F_SETFL, O_NONBLOCK)
    }

    deinit {
        close(reader)
        close(writer)
    }

    /// Everything that has been written.
    func contents() -> String {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(reader, &chunk, chunk.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
    }
}

private struct Failure: Error, CustomStringConvertible {
    let description = "it broke"
}

@Suite struct StderrLogHandlerTests {
    private let pipe = Pipe()

    private func logger(
        level: Logger.Level = .info, provider: Logger.MetadataProvider? = nil
    ) -> Logger {
        var handler = StderrLogHandler(
            configuration: LogConfiguration(level: level, format: .logfmt),
            sink: LogSink(descriptor: pipe.writer), now: { 0 })
        handler.metadataProvider = provider
        return Logger(label: "test") { _ in handler }
    }

    @Test func eventsBecomeLines() {
        var logger = logger()
        logger[metadataKey: "pool"] = "main"
        logger.notice("first", metadata: ["event": "ready"])
        logger.error("second", metadata: ["pool": "other"])
        #expect(logger[metadataKey: "pool"] == "main")
        #expect(
            pipe.contents() == """
                ts=1970-01-01T00:00:00.000Z level=notice event=ready msg="first" pool=main
                ts=1970-01-01T00:00:00.000Z level=error msg="second" pool=other

                """)
    }

    @Test func lessSevereLevelsAreNotWritten() {
        let logger = logger(level: .warning)
        logger.notice("no")
        logger.warning("yes")
        #expect(pipe.contents().contains("yes"))
        #expect(!pipe.contents().contains("no"))
    }

    @Test func fieldsOverrideEachOther() {
        var logger = logger(
            provider: Logger.MetadataProvider { ["a": "provider", "b": "provider"] })
        logger[metadataKey: "a"] = "handler"
        logger[metadataKey: "c"] = "handler"
        logger.info("m", metadata: ["b": "event"])
        #expect(pipe.contents().hasSuffix("msg=\"m\" a=provider b=event c=handler\n"))
    }

    @Test func errorsAreFields() {
        logger().error("m", error: Failure())
        #expect(pipe.contents().hasSuffix("msg=\"m\" err=\"it broke\"\n"))
    }

    @Test func fullPipesLoseLinesWithoutBlocking() {
        let sink = LogSink(descriptor: pipe.writer)
        let line = String(repeating: "x", count: LogSink.lineLimit - 1) + "\n"
        var written = 0
        while sink.suppressed == 0, written < 10_000 {
            sink.write(line)
            written += 1
        }
        #expect(sink.suppressed == 1)
        #expect(pipe.contents() == String(repeating: line, count: written - 1))
        sink.write("again\n")
        #expect(pipe.contents() == "again\n")
        #expect(sink.suppressed == 1)
    }

    @Test func failuresAreCounted() {
        let closed = LogSink(descriptor: -1)
        closed.write("x\n")
        closed.write("y\n")
        #expect(closed.suppressed == 2)
        let sink = LogSink(descriptor: pipe.writer)
        sink.write(String(repeating: "x", count: LogSink.lineLimit + 1))
        #expect(sink.suppressed == 1)
        #expect(pipe.contents() == "")
    }

    @Test(
        arguments: [
            ("8:15", false, LogFormat.journal), ("8:15", true, .journal), ("8:16", false, .logfmt),
            ("8:16", true, .text), ("", false, .logfmt), ("8:15x", false, .logfmt),
            (nil, true, .text), (nil, false, .logfmt),
        ] as [(String?, Bool, LogFormat)])
    func formats(journalStream: String?, isTerminal: Bool, format: LogFormat) {
        #expect(
            LogFormat.suited(
                journalStream: journalStream, device: 8, inode: 15, isTerminal: isTerminal)
                == format)
    }

    @Test func formatOfADescriptor() {
        #expect(LogSink(descriptor: pipe.writer).suitedFormat() == .logfmt)
        #expect(LogSink(descriptor: -1).suitedFormat() == .logfmt)
    }

    @Test func levelAndFormatOfAllHandlersChangeTogether() {
        let control = LogControl(LogConfiguration(level: .warning, format: .logfmt))
        let sink = LogSink(descriptor: pipe.writer)
        let loggers = (0..<2).map { number in
            Logger(label: "test \(number)") { _ in
                StderrLogHandler(control: control, sink: sink, now: { 0 })
            }
        }
        for log in loggers { log.info("hidden") }
        control.set(LogConfiguration(level: .debug, format: .journal))
        for log in loggers { log.debug("shown") }
        let lines = pipe.contents().split(separator: "\n")
        #expect(lines.count == 2 && lines.allSatisfy { $0.hasPrefix("<7>") })
    }
}
