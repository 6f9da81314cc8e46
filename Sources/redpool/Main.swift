import EventLoop
import Glibc

/// The version of this tree, as CHANGELOG.md has it.
let redpoolVersion = "0.1.0"

/// The program's entry, under the name by which SwiftPM has the linker call it. `@main` would not hand
/// the arguments on, and `CommandLine` finds them in /proc, which may not be there.
@c(redpool_main)
func enter(_ count: CInt, _ words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
    guard System.openStandardDescriptors() == 0 else { return Sysexit.osError }
    Signals.ignoreMeaningless()
    let arguments = UnsafeBufferPointer(start: words, count: Int(count)).map {
        $0.map { String(cString: $0) } ?? ""
    }
    return Redpool.perform(arguments.dropFirst())
}

enum Redpool {
    /// Does what the command line asks for; the code to exit with.
    fileprivate static func perform(_ arguments: ArraySlice<String>) -> Int32 {
        do {
            switch try Invocation(arguments) {
            case .run(let config): try Daemon(configPath: config).run()
            case .check(let file): try check(file)
            case .version: print("redpool \(redpoolVersion)")
            case .bareVersion: print(redpoolVersion)
            case .help(let subcommand): print(subcommand?.help ?? Subcommand.generalHelp)
            }
            return 0
        } catch let error as UsageError {
            complain(error.message)
            return Sysexit.usage
        } catch let failure as StartFailure {
            complain(failure.message)
            return failure.code
        } catch {
            complain("redpool: \(error)")
            return Sysexit.software
        }
    }
}
