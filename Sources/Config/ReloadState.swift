/// What became of the last attempt to reload the configuration, and what waits for a restart.
package struct ReloadState: Sendable {
    /// What became of an attempt.
    package enum Outcome: Sendable {
        /// There was none: the configuration is that of the start.
        case none
        case succeeded
        /// There was a problem, and nothing was changed.
        case refused
    }

    /// That of the last attempt.
    package var outcome = Outcome.none
    /// When the configuration in force was read, in nanoseconds since 1970.
    package var lastSuccess: Int64
    /// Changes in the file that take effect only when the process is started again. `old` is the
    /// value in force.
    package var pending: [ConfigChange] = []
    /// The problems of the last attempt; empty if it succeeded.
    package var problems: [String] = []

    /// The configuration was read at the start, at this time.
    package init(startedAt time: Int64) { lastSuccess = time }
}
