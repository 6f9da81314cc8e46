// The file of a unix listener: who may use it is settled before anybody can connect, and it is
// removed only while it is the one that was made. Another daemon may have put its own in the place.

internal import CLibevent
internal import Glibc
internal import Synchronization

/// Why nobody can be listened for at an address.
package enum ListenFailure: Error {
    /// The system refuses it: an errno.
    case system(Int32)
    /// Something else than a socket stands at the path.
    case occupied(by: String)
    /// There is no such group.
    case unknownGroup
    /// The socket cannot be given to the group: an errno, and whether the process belongs to it.
    case groupRefused(Int32, isMember: Bool)
}

/// The file that this process has made for a unix listener.
package final class SocketFile: Sendable {
    private let path: String
    private let identity: Identity
    private let isRemoved = Atomic(false)

    /// A file among all of the machine, as long as it exists or is open.
    private struct Identity: Equatable {
        let device: dev_t
        let inode: ino_t
    }

    private init(path: String, facts: stat) {
        self.path = path
        identity = SocketFile.identity(facts)
    }

    /// Makes the file with its mode and group ("" leaves it as it is), and listens. A file that was
    /// left behind, on which nobody answers and nobody is about to, is removed first.
    package static func listen(
        path: String, mode: UInt32, group: String, backlog: Int32
    ) throws(ListenFailure) -> (descriptor: Int32, file: SocketFile) {
        guard let address = SocketAddress(unixPath: path) else { throw .system(ENAMETOOLONG) }
        try removeLeftOver(path, address)
        let descriptor = address.bind()
        guard descriptor >= 0 else { throw .system(-descriptor) }
        var facts = stat()
        guard lstat(path, &facts) == 0 else {
            let error = errno
            close(descriptor)
            throw .system(error)
        }
        let file = SocketFile(path: path, facts: facts)
        do throws(ListenFailure) {
            try setPermissions(path: path, mode: mode, group: group)
            let result = SocketAddress.listen(on: descriptor, backlog: backlog)
            if result < 0 { throw .system(-result) }
        } catch {
            file.remove()
            close(descriptor)
            throw error
        }
        return (descriptor, file)
    }

    /// Removes the file, unless another has taken its place. To be called before the listener is
    /// closed: what is open cannot be taken for another that got its number.
    package func remove() {
        guard !isRemoved.exchange(true, ordering: .relaxed) else { return }
        var facts = stat()
        guard lstat(path, &facts) == 0, SocketFile.identity(facts) == identity else { return }
        _ = unlink(path)
    }

    private static func identity(_ facts: stat) -> Identity {
        Identity(device: facts.st_dev, inode: facts.st_ino)
    }

    private static func removeLeftOver(
        _ path: String, _ address: SocketAddress
    ) throws(ListenFailure) {
        var first = stat()
        guard lstat(path, &first) == 0 else { return }
        guard first.st_mode & S_IFMT == S_IFSOCK else {
            throw .occupied(by: kind(first.st_mode))
        }
        // Who has bound it and not yet said listen refuses like nobody. He may say it between two
        // of these questions, so the first is asked again.
        guard address.refusesClients, !redpool_is_bound(path), address.refusesClients else {
            throw .system(EADDRINUSE)
        }
        var last = stat()
        guard lstat(path, &last) == 0 else { return }
        let isSame =
            identity(first) == identity(last) && first.st_ctim.tv_sec == last.st_ctim.tv_sec
            && first.st_ctim.tv_nsec == last.st_ctim.tv_nsec
        guard isSame else { throw .system(EADDRINUSE) }
        if unlink(path) != 0 { throw .system(errno) }
    }

    private static func kind(_ mode: mode_t) -> String {
        switch mode & S_IFMT {
        case S_IFREG: "a regular file"
        case S_IFDIR: "a directory"
        case S_IFLNK: "a symbolic link"
        case S_IFIFO: "a FIFO"
        default: "a device"
        }
    }

    private static func setPermissions(
        path: String, mode: UInt32, group: String
    ) throws(ListenFailure) {
        if !group.isEmpty {
            let number = redpool_group_id(group)
            if number < 0 { throw .unknownGroup }
            let result = redpool_give_to_group(path, number)
            if result < 0 {
                throw .groupRefused(-result, isMember: redpool_is_in_group(number))
            }
        }
        if chmod(path, mode) != 0 { throw .system(errno) }
    }
}

extension SocketAddress {
    /// There is no listener behind it.
    fileprivate var refusesClients: Bool {
        let probe = connect(keepaliveSeconds: 0, userTimeoutMilliseconds: 0)
        if probe >= 0 { close(probe) }
        return probe == -ECONNREFUSED
    }
}
