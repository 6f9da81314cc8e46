// The program that the process was started as, and how it is started again: beside this process,
// to try something, or in its place.

internal import CExec
internal import CLibevent
internal import Glibc

/// A program with its arguments and its environment.
package struct Program: Sendable {
    /// The file, by an absolute path that need not be there any more.
    package let path: String
    /// The name under which it was called, and its arguments.
    package let words: [String]
    /// As `NAME=value`.
    private let environment: [String]

    /// Which file is at a path.
    package struct Identity: Equatable, Sendable {
        private let device: UInt64
        private let inode: UInt64
        private let size: Int64

        fileprivate init(_ facts: stat) {
            device = UInt64(facts.st_dev)
            inode = UInt64(facts.st_ino)
            size = Int64(facts.st_size)
        }
    }

    /// This process, as it was started with these words. Call it before the environment or the
    /// working directory change.
    package init(words: [String]) {
        self.words = words
        path = Program.place(of: words.first ?? "")
        environment = Program.environment()
    }

    private init(path: String, words: [String], environment: [String]) {
        self.path = path
        self.words = words
        self.environment = environment
    }

    /// The same program with other words behind its name.
    package func with(arguments: [String]) -> Program {
        Program(path: path, words: [words.first ?? path] + arguments, environment: environment)
    }

    /// The file that is at the path now; nil if there is none.
    package var identity: Identity? {
        var facts = stat()
        return stat(path, &facts) == 0 ? Identity(facts) : nil
    }

    /// A symbolic link stays one: it may lead to another program by the time of an upgrade.
    private static func place(of name: String) -> String {
        if name.hasPrefix("/") { return name }
        if name.utf8.contains(UInt8(ascii: "/")), let directory = getcwd(nil, 0) {
            defer { free(directory) }
            return String(cString: directory) + "/" + name
        }
        for directory in searchPath where !directory.isEmpty {
            let path = "\(directory)/\(name)"
            if access(path, X_OK) == 0 { return path }
        }
        return linkedProgram ?? name
    }

    private static var searchPath: [Substring] {
        guard let path = getenv("PATH") else { return [] }
        return String(cString: path).split(separator: ":")
    }

    private static var linkedProgram: String? {
        var name = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
        let count = readlink("/proc/self/exe", &name, Int(PATH_MAX))
        guard count > 0 else { return nil }
        return String(decoding: name[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func environment() -> [String] {
        var found: [String] = []
        guard var next = redpool_environment() else { return [] }
        while let text = next.pointee {
            found.append(String(cString: text))
            next += 1
        }
        return found
    }
}

// MARK: - Another process

/// A program that runs beside this process and writes a few lines.
package struct StartedProgram: Sendable {
    package let process: Int32
    /// What it writes can be read here. To be closed by whoever has it.
    package let answers: Int32
}

/// How a program has ended.
package enum ProgramEnd: Equatable, Sendable {
    case exited(Int32)
    case signal(Int32)
}

extension Program {
    /// Starts it with `file` as descriptor 3. The value of a failure is a positive errno.
    package func start(with file: Int32) -> Result<StartedProgram, SystemError> {
        let words = CStrings(words)
        let environment = CStrings(environment)
        defer {
            words.free()
            environment.free()
        }
        var answers: Int32 = -1
        let process = redpool_start(path, words.pointer, environment.pointer, file, &answers)
        guard process > 0 else { return .failure(SystemError(code: -process)) }
        return .success(StartedProgram(process: process, answers: answers))
    }
}

extension StartedProgram {
    /// Ends it at once.
    package func kill() { Glibc.kill(process, SIGKILL) }

    /// Waits until it has ended, which it is about to do.
    package func end() -> ProgramEnd {
        let code = redpool_reap(process)
        return code >= 256 ? .signal(code - 256) : .exited(code)
    }
}

/// An errno.
package struct SystemError: Error, Equatable {
    package let code: Int32

    package init(code: Int32) { self.code = code }

    package var text: String { System.errorText(code) }
}

// MARK: - In place

/// The variable that tells an executed program of the hand-over.
private let variable = "REDPOOL_HANDOVER"

extension Program {
    /// Executes the program that is at the path in place of this one. It finds `order` by
    /// `HandOverOrder.take`. Returns only if that fails, with a positive errno.
    package func execute(_ order: HandOverOrder) -> SystemError {
        let words = CStrings(words)
        let environment = CStrings(environment(with: order))
        defer {
            words.free()
            environment.free()
        }
        return SystemError(code: -redpool_execute(path, words.pointer, environment.pointer))
    }

    /// Called at the start, before `HandOverOrder.take`: the process executes this file.
    package func note() { redpool_note_program(path) }

    /// Until `stay`, a trap of this program executes the former one, with `order` of a way back.
    /// So does the end of `seconds`. Returns a positive errno if that cannot be arranged.
    package func guardWayBack(_ order: HandOverOrder, seconds: UInt32) -> SystemError? {
        // A handler needs them, so they are never freed.
        let words = CStrings(words)
        let environment = CStrings(environment(with: order))
        let mark = environment.last.map { $0 + strlen($0) - 2 }
        let result = redpool_guard(
            order.former, words.pointer, environment.pointer, mark, seconds)
        return result < 0 ? SystemError(code: -result) : nil
    }

    private func environment(with order: HandOverOrder) -> [String] {
        // Its sockets are among what is handed over.
        let own = [variable, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]
        return environment.filter { entry in !own.contains { entry.hasPrefix($0 + "=") } }
            + ["\(variable)=\(order.text)"]
    }

    /// Executes the former program now, whose order names `cause`. Returns only if that fails;
    /// never if another thread has begun with it.
    package static func goBack(_ cause: Int32) { redpool_go_back(cause) }

    /// A thread is executing the former program: what fails now fails because of that.
    package static var isGoingBack: Bool { redpool_is_going_back() }

    /// There is no way back any more.
    package static func stay() { redpool_stay() }
}

/// What an executed program is told of the hand-over.
package struct HandOverOrder: Equatable, Sendable {
    /// The file with what it takes over.
    package let file: Int32
    /// The program that was executing before.
    package let former: Int32
    /// It is the former program itself: the other one has failed, by this signal; 0 for a failure
    /// that it has noticed itself.
    package var failure: Int32?

    package init(file: Int32, former: Int32, failure: Int32? = nil) {
        self.file = file
        self.former = former
        self.failure = failure
    }

    /// The last two digits are those of the failure.
    fileprivate var text: String {
        let digits = failure.map { ($0 < 10 ? ",0" : ",") + "\($0)" } ?? ""
        return "\(file),\(former)\(digits)"
    }

    /// The order that this process was executed with, and none for later calls and children.
    package static func take() -> HandOverOrder? {
        var numbers: (Int32, Int32, Int32) = (-1, -1, -1)
        guard redpool_take_order(variable, &numbers.0, &numbers.1, &numbers.2) else { return nil }
        redpool_begin_anew()
        return HandOverOrder(
            file: numbers.0, former: numbers.1, failure: numbers.2 < 0 ? nil : numbers.2)
    }
}

/// Strings for C, and nil behind the last.
private struct CStrings {
    let pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointer = .allocate(capacity: count + 1)
        for (index, string) in strings.enumerated() { pointer[index] = strdup(string) }
        pointer[count] = nil
    }

    var last: UnsafeMutablePointer<CChar>? { count == 0 ? nil : pointer[count - 1] }

    func free() {
        for index in 0..<count { Glibc.free(pointer[index]) }
        pointer.deallocate()
    }
}
