import EventLoop
import Glibc

/// The program's entry, with the name that SwiftPM gives to the linker. `@main` would not pass the
/// arguments, and `CommandLine` reads them from /proc, which may not exist.
@c(redpool_main)
func enter(_ count: CInt, _ words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
    guard System.openStandardDescriptors() == 0 else { return Sysexit.osError }
    Signals.ignoreMeaningless()
    let arguments = UnsafeBufferPointer(start: words, count: Int(count)).map {
        $0.map { String(cString: $0) } ?? ""
    }
    return Redpool.perform(arguments)
}

enum Redpool {
    /// The daemon, in the usual way or in place of another program.
    private static func run(_ config: String, _ program: Program) throws {
        let successor = try Successor.take(program)
        do {
            try Daemon(configPath: config, program: program, successor: successor).run()
        } catch let failure as StartFailure {
            successor?.goBack(failure.message)
            throw failure
        } catch {
            successor?.goBack("redpool: \(error)")
            throw error
        }
    }

    /// Carries out the request on the command line. Returns the exit code.
    ///
    /// - Parameter words: the name of the program, and what follows.
    fileprivate static func perform(_ words: [String]) -> Int32 {
        do {
            switch try Invocation(words.dropFirst()) {
            case .run(let config): try run(config, Program(words: words))
            case .rehearse(let config): return try rehearse(config: config)
            case .check(let request): return try check(request)
            case .ping(let config, let pool): return try ping(config: config, pool: pool)
            case .status(let request): return try status(request)
            case .console(let request): return try askConsole(request)
            case .version: print("redpool \(fullVersion)")
            case .bareVersion: print(redpoolVersion)
            case .help(let subcommand): print(subcommand?.help ?? Subcommand.generalHelp)
            }
            return 0
        } catch let error as UsageError {
            Successor.goBack(Program(words: words), error.message)
            complain(error.message)
            return Sysexit.usage
        } catch let failure as StartFailure {
            if let message = failure.message { complain(message) }
            return failure.code
        } catch {
            complain("redpool: \(error)")
            return Sysexit.software
        }
    }
}
