// Threads without a runtime between them and the loop: actors and executors cost more per callback
// than a whole command does.

internal import CExec
internal import CLibevent
internal import Glibc

/// Runs a function on a thread of its own.
package enum Threads {
    private final class Start: Sendable {
        let name: String
        let body: @Sendable () -> Void
        init(name: String, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }

    /// Names the calling thread, at most 15 bytes.
    package static func nameThis(_ name: String) { redpool_name_thread(name) }

    /// Starts a detached thread with all signals blocked. Returns 0, or a positive errno.
    package static func start(name: String, _ body: @escaping @Sendable () -> Void) -> Int32 {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        let start = Unmanaged.passRetained(Start(name: name, body: body))
        var thread = pthread_t()
        let error = pthread_create(&thread, &attributes, threadMain, start.toOpaque())
        if error != 0 { start.release() }
        return error
    }

    fileprivate static func run(_ pointer: UnsafeMutableRawPointer) {
        redpool_block_signals()
        redpool_guard_thread()
        let start = Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
        redpool_name_thread(start.name)
        start.body()
    }
}

private func threadMain(_ pointer: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    if let pointer { Threads.run(pointer) }
    return nil
}
