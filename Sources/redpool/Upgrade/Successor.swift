// An upgrade, as the program sees it that takes over: it reads what the other one has written down,
// builds everything, and only then begins. Until then a failure or a trap executes the other one
// again, which reads the same file and goes on.

import Config
import EventLoop
import Glibc
import HandOver
import Pool
import Proxy
import Session

/// A hand-over to this program.
final class Successor {
    /// Without most of it after `forget`.
    private(set) var file: HandOverFile
    /// The other program has failed, by this signal, and this is the one that was there before; 0
    /// for a failure without a signal.
    let failure: Int32?
    let commitment: Wakeup
    private let memory: MemoryFile
    private let former: Int32
    /// Sockets that nobody has taken yet.
    private var listeners: [CarriedListener]
    /// What the configuration names, as the other program has read it; see `takeFiles`.
    private var files = NamedFiles()
    /// Has what others have taken, and keeps it open: see `hold`.
    private var owners: [AnyObject] = []
    /// There is no way back any more.
    private var isCertain = false

    /// The main thread waits this long for its workers, in seconds.
    private static let patience: UInt32 = 5

    /// Nil if the process was started in the usual way. If the file cannot be used, the other
    /// program is executed again.
    static func take(_ program: Program) throws -> Successor? {
        program.note()
        guard let order = HandOverOrder.take() else { return nil }
        if let error = guardWayBack(program, order) {
            let text = "redpool: no way back from a trap: \(error.text)"
            goBack(from: order, text)
            throw StartFailure(code: Sysexit.osError, message: text)
        }
        Threads.nameThis("redpool")
        do {
            return try Successor(order)
        } catch let failure as StartFailure {
            goBack(from: order, failure.message)
            throw failure
        }
    }

    private static func guardWayBack(_ program: Program, _ order: HandOverOrder) -> SystemError? {
        if order.failure != nil { return nil }
        let back = HandOverOrder(file: order.file, former: order.former, failure: 0)
        return program.guardWayBack(back, seconds: patience)
    }

    /// The program does not know its command line. If it was executed in place of another one,
    /// whose line it is, that goes on.
    static func goBack(_ program: Program, _ cause: String) {
        guard let order = HandOverOrder.take() else { return }
        _ = guardWayBack(program, order)
        goBack(from: order, cause)
    }

    private init(_ order: HandOverOrder) throws {
        memory = MemoryFile(descriptor: order.file)
        former = order.former
        failure = order.failure
        file = try Successor.read(memory)
        for named in file.files { files.add(named.path, named.bytes) }
        file.forgetFiles()
        listeners = file.listeners
        guard let commitment = Wakeup() else {
            throw StartFailure(
                code: Sysexit.osError, message: "redpool: no descriptors left to take over with")
        }
        self.commitment = commitment
    }

    /// The hand-over in a file in memory.
    static func read(_ memory: MemoryFile) throws -> HandOverFile {
        do {
            var bytes = try memory.read(most: Int(HandOverFile.mostBytes))
            defer { Secret.wipe(&bytes) }
            return try HandOverFile.decode(bytes.span)
        } catch let error as HandOverError {
            throw StartFailure(
                code: Sysexit.data, message: error.text(reader: redpoolVersion))
        } catch let error as SystemError {
            throw StartFailure(code: Sysexit.osError, message: "the hand-over: \(error.text)")
        }
    }

    /// The start has failed: the other program goes on. Returns if that fails as well.
    static func goBack(from order: HandOverOrder, _ cause: String?) {
        if let cause, !Program.isGoingBack { complain(cause) }
        if order.failure == nil { Program.goBack(0) }
    }

    /// The same, after `take`. Once the hand-over is certain, nothing.
    func goBack(_ cause: String?) {
        if isCertain { return }
        Successor.goBack(
            from: HandOverOrder(file: memory.descriptor, former: former, failure: failure), cause)
    }

    /// The configuration whose keys that need a restart are in effect still, because a program that
    /// comes back is not another one; nil if there is none.
    var firstConfiguration: String? { failure == nil ? nil : file.first }

    /// The files that the configuration names. On the disk they may be gone by now.
    func takeFiles() -> NamedFiles {
        defer { files = NamedFiles() }
        return files
    }

    // MARK: Sockets

    /// Takes the sockets of one purpose.
    func takeListeners(where isWanted: (CarriedListener) -> Bool) -> [CarriedListener] {
        let taken = listeners.filter(isWanted)
        listeners.removeAll(where: isWanted)
        return taken
    }

    /// Until the hand-over is certain, whoever closes sockets at its end must not end. A start that
    /// fails releases everything, and the former program is to find all of it open.
    func hold(_ owner: AnyObject?) {
        if let owner { owners.append(owner) }
    }

    /// What a worker takes over.
    func adoption(_ built: @escaping @Sendable () -> Void) -> Adoption {
        Adoption(file.cells, commitment: commitment, built: built)
    }

    // MARK: The end

    /// Everything is built: there is no way back any more.
    func commit() {
        isCertain = true
        Program.stay()
        // Children must not have clients' sockets.
        _ = Inheritance.clear()
        for left in listeners {
            if let file = left.file { SocketFile(file).remove() }
            close(left.descriptor)
        }
        listeners = []
        owners = []
        close(former)
        memory.wipeAndClose()
        commitment.signal()
    }

    /// Everything of it is told. What clients have sent and are called is in it.
    func forget() { file = HandOverFile(process: file.process, configuration: "") }

    /// What is told of the upgrade.
    var text: String {
        let process = file.process
        if let failure {
            let how = failure == 0 ? "has failed" : "ended with signal \(failure)"
            return "upgrade failed: \(process.successor) \(how) before it took over; "
                + "\(redpoolVersion) serves on"
        }
        let clients = file.cells.reduce(0) { $0 + $1.clients.count }
        let took = (EventLoop.now() - process.upgradeBegan.nanoseconds) / 1_000_000
        return "upgraded \(process.version) to \(redpoolVersion) in \(took) ms: \(clients) "
            + "client\(clients == 1 ? "" : "s") carried" + carriedText + closedText
    }

    /// ` (50 blocked, 200 subscribed)`
    private var carriedText: String {
        var blocked = 0
        var subscribed = 0
        for cell in file.cells {
            subscribed += cell.pools.reduce(0) { $0 + $1.subscriptions.subscribers.count }
            for upstream in cell.upstreams {
                switch upstream.use {
                case .exclusive(_, isBlocking: true, _): blocked += 1
                case .held(_, let state, _) where state.subscriptions > 0: subscribed += 1
                default: break
                }
            }
        }
        let details = [(blocked, "blocked"), (subscribed, "subscribed")]
            .filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
        return details.isEmpty ? "" : " (\(details.joined(separator: ", ")))"
    }

    /// `, 3 closed (TLS)`, or `, 3 closed (2 TLS, 1 login)`
    private var closedText: String {
        let found = file.counters.filter { $0.name.hasPrefix(Successor.closedCounter) }
            .sorted { $0.name < $1.name }
            .map { ($0.name.dropFirst(Successor.closedCounter.count), $0.values.first ?? 0) }
        if found.isEmpty { return "" }
        let details = found.map { found.count == 1 ? "\($0.0)" : "\($0.1) \($0.0)" }
        let sum = found.reduce(0) { $0 + $1.1 }
        return ", \(sum) closed (\(details.joined(separator: ", ")))"
    }

    /// Under this name, and what stood in the way, is how many clients the former program has
    /// closed.
    static let closedCounter = "upgrade.closed."
    static let tls = "TLS"
}

extension SocketFile {
    /// The file that a former program has made.
    convenience init(_ carried: CarriedFile) {
        self.init(path: carried.path, device: carried.device, inode: carried.inode)
    }

    /// As it is handed over.
    var carried: CarriedFile {
        let (device, inode) = numbers
        return CarriedFile(path: place, device: device, inode: inode)
    }
}

extension BoundListener {
    /// As it is handed over.
    var carried: CarriedListener {
        CarriedListener(
            descriptor: descriptor, purpose: .pool(pool), address: address.description,
            number: number, file: file?.carried)
    }
}
