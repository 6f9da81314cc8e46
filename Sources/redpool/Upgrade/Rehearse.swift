// `redpool rehearse`: a program that is to take over shows that it could. It gets the hand-over
// without passwords as descriptor 3, reads it and the configuration, and opens nothing. Its last
// line says that it is Redpool: another program that ends well must not be executed.

import Config
import EventLoop
import Glibc
import HandOver
import Pool
import Proxy
import Session

/// Begins the last line of a rehearsal that has succeeded.
let rehearsed = "redpool "

/// Returns the exit code.
func rehearse(config path: String) throws -> Int32 {
    let file = try Successor.read(MemoryFile(descriptor: 3))
    let (result, _) = try readForRehearsal(path)
    guard case .valid(let config, _) = result else {
        if case .invalid(let problems) = result {
            let name = path.split(separator: "/").last.map { String($0) } ?? path
            for problem in problems { print(problem.rendered(file: name)) }
        }
        return Sysexit.config
    }
    let pools = Set(config.pools.map(\.name))
    for cell in file.cells {
        if let lost = cell.pools.first(where: { !pools.contains($0.name) }) {
            print("there is no pool \(lost.name)")
            return Sysexit.config
        }
        for client in cell.clients { _ = Session(carried: client.session) }
    }
    print(rehearsed + redpoolVersion)
    return 0
}

private func readForRehearsal(_ path: String) throws -> (ConfigResult, ConfigSource) {
    do throws(Config.FileError) {
        return try Config.loadWithSource(path: path, surroundings: .ofReload)
    } catch {
        throw StartFailure(
            code: Sysexit.config, message: "cannot read \(path): \(error.message)")
    }
}
