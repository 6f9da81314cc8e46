// The rehearsal of an upgrade: the new program reads in a process of its own what it would take
// over, without passwords, and opens nothing.

import Config
import EventLoop
import Glibc
import HandOver
import Logging
import Pool
import Proxy

extension Upgrader {
    func tryOut(_ given: Rehearsal) {
        var rehearsal = given
        let file: MemoryFile
        do {
            let written = writing(rehearsal.cells, rehearsal.request, rehearsal.began).redacted
            var bytes: [UInt8] = []
            try written.encode(into: &bytes)
            file = try MemoryFile(bytes)
        } catch let error as HandOverError {
            return refuse(rehearsal.request, error.text(reader: redpoolVersion))
        } catch {
            return refuse(rehearsal.request, "\((error as? SystemError)?.text ?? "\(error)")")
        }
        defer { file.close() }
        rehearsal.identity = parts.program.identity
        let words = ["rehearse", "--config", parts.source().file]
        switch parts.program.with(arguments: words).start(with: file.descriptor) {
        case .failure(let error):
            refuse(rehearsal.request, "cannot execute \(parts.program.path): \(error.text)")
        case .success(let started):
            rehearsal.started = started
            stage = .rehearsing(rehearsal)
            watch = DescriptorWatch(
                descriptor: started.answers, loop: parts.loop,
                owner: Unmanaged.passUnretained(self).toOpaque(), callback: rehearsalReadable)
        }
    }

    func readRehearsal() {
        guard case .rehearsing(var rehearsal) = stage, let started = rehearsal.started else {
            return
        }
        var room = [UInt8](repeating: 0, count: 4096)
        let count = room.withUnsafeMutableBytes { read(started.answers, $0.baseAddress, $0.count) }
        if count > 0 {
            let left = max(0, Upgrader.longestOutput - rehearsal.output.count)
            rehearsal.output += room[..<min(count, left)]
            stage = .rehearsing(rehearsal)
            return
        }
        if count < 0, errno == EINTR { return }
        endRehearsal(started)
        // One that has only closed its output would be waited for here.
        started.kill()
        judge(rehearsal, started.end())
    }

    private static let longestOutput = 16 << 10
    /// So much of it is told, in characters.
    private static let longestText = 500

    func endRehearsal(_ started: StartedProgram) {
        watch = nil
        close(started.answers)
    }

    func judge(_ rehearsal: Rehearsal, _ end: ProgramEnd) {
        let lines = String(decoding: rehearsal.output, as: UTF8.self)
            .split(separator: "\n").map { String($0) }
        guard end == .exited(0), let last = lines.last, last.hasPrefix(rehearsed) else {
            return refuse(rehearsal.request, failure(end, lines))
        }
        guard parts.program.identity == rehearsal.identity else {
            guard rehearsal.tries < Upgrader.mostTries else {
                return refuse(
                    rehearsal.request, "\(parts.program.path) changes while it is being tried")
            }
            return rehearse(rehearsal.again(tries: rehearsal.tries + 1))
        }
        freeze(
            Freeze(
                request: rehearsal.request, began: rehearsal.began,
                version: Upgrader.begin(of: String(last.dropFirst(rehearsed.count))),
                identity: rehearsal.identity,
                until: MonotonicTime(
                    nanoseconds: EventLoop.now() + parts.settings().config.drainTimeout),
                closed: rehearsal.closed))
    }

    func failure(_ end: ProgramEnd, _ lines: [String]) -> String {
        let said = Upgrader.begin(of: lines.joined(separator: "; "))
        switch end {
        case .exited(Sysexit.usage):
            return "\(parts.program.path) does not know how to take over: restart instead"
        case .exited(Sysexit.config): return said
        case .exited(Sysexit.data): return "\(said): restart instead"
        case .exited(let code):
            return "the rehearsal of \(parts.program.path) ended with exit code \(code)"
                + (said.isEmpty ? "" : ": \(said)")
        case .signal(let number):
            let last =
                lines.first { $0.split(separator: ":").contains(" Fatal error") } ?? lines.last
            return "the rehearsal of \(parts.program.path) ended with signal \(number)"
                + (last.map { ": \(Upgrader.begin(of: $0))" } ?? "")
        }
    }

    private static func begin(of text: String) -> String {
        let begin = text.prefix(longestText)
        return begin.endIndex == text.endIndex ? text : begin + " ..."
    }
}
