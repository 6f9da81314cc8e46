package import Logging

/// The daemon's swift-log handler: one event, one line, one `write(2)`, in the format for what
/// standard error is connected to.
///
/// The metadata key `event` names the kind of event in dotted words (`pool.wait_timeout`), and
/// `pool` the pool. They come first; the other keys follow in alphabetical order.
package struct StderrLogHandler: LogHandler {
    /// The least severe level that is logged: that of the whole log, unless it was set here.
    package var logLevel: Logger.Level {
        get { ownLevel ?? control.level }
        set { ownLevel = newValue }
    }
    /// Fields of every line of this handler.
    package var metadata: Logger.Metadata = [:]
    /// More fields of every line, from the caller's context.
    package var metadataProvider: Logger.MetadataProvider?

    private var ownLevel: Logger.Level?
    private let control: LogControl
    private let sink: LogSink
    private let now: @Sendable () -> Int64

    /// A handler that writes to `sink`; `now` gives the time in nanoseconds since 1970.
    package init(
        configuration: LogConfiguration, sink: LogSink,
        now: @escaping @Sendable () -> Int64 = wallClock
    ) {
        self.init(control: LogControl(configuration), sink: sink, now: now)
    }

    /// The same with a level and a format that can change.
    package init(
        control: LogControl, sink: LogSink, now: @escaping @Sendable () -> Int64 = wallClock
    ) {
        self.control = control
        self.sink = sink
        self.now = now
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one line. The fields of the event override those of the provider, and those override
    /// the handler's own.
    package func log(event: LogEvent) {
        var fields = metadata
        if let provided = metadataProvider?.get() {
            fields.merge(provided) { _, new in new }
        }
        if let own = event.metadata {
            fields.merge(own) { _, new in new }
        }
        if let error = event.error, fields["err"] == nil {
            fields["err"] = .string(String(describing: error))
        }
        let line = LogLine(
            level: event.level, message: event.message.description, fields: fields, time: now())
        sink.write(line.rendered(as: control.format), level: event.level)
    }
}
