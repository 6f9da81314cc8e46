// What is logged, and how: a value that every thread reads and the main thread can replace.

package import Logging
import Synchronization

/// The level and the format of the whole log. All handlers of the process share one.
package final class LogControl: Sendable {
    private let levelIndex: Atomic<Int>
    private let formatIndex: Atomic<Int>

    package init(_ configuration: LogConfiguration) {
        levelIndex = Atomic(LogControl.index(of: configuration.level))
        formatIndex = Atomic(LogControl.index(of: configuration.format))
    }

    /// Puts another level and format into force, for all threads.
    package func set(_ configuration: LogConfiguration) {
        levelIndex.store(LogControl.index(of: configuration.level), ordering: .relaxed)
        formatIndex.store(LogControl.index(of: configuration.format), ordering: .relaxed)
    }

    /// The least severe level that is logged.
    package var level: Logger.Level {
        LogControl.levels[levelIndex.load(ordering: .relaxed)]
    }

    /// The format of a line.
    package var format: LogFormat {
        LogControl.formats[formatIndex.load(ordering: .relaxed)]
    }

    private static let levels = Logger.Level.allCases
    private static let formats = LogFormat.allCases

    private static func index(of level: Logger.Level) -> Int {
        levels.firstIndex(of: level) ?? 0
    }

    private static func index(of format: LogFormat) -> Int {
        formats.firstIndex(of: format) ?? 0
    }
}
