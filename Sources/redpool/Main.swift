import Glibc

/// The version of this tree, as CHANGELOG.md has it.
let redpoolVersion = "0.1.0"

@main
enum Redpool {
    static func main() {
        exit(perform(CommandLine.arguments.dropFirst()))
    }

    /// Does what the command line asks for; the code to exit with.
    private static func perform(_ arguments: ArraySlice<String>) -> Int32 {
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
