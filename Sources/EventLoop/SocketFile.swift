// The socket file of a unix listener. Its mode and group are set before clients can connect. It is
// removed only if it is still the file that this process made: another daemon may have replaced it.

internal import CLibevent
internal import Glibc
internal import Synchronization

/// Why an address cannot be listened on.
package enum ListenFailure: Error {
    /// The system has refused it. The value is an errno.
    case system(Int32)
    /// A file that is not a socket exists at the path.
    case occupied(by: String)
    /// The group does not exist.
    case unknownGroup
    /// The system refuses to give the socket to the group: the errno, and whether the process is in
    /// the group.
    case groupRefused(Int32, isMember: Bool)
}

/// The mode and the group of a socket file.
package struct SocketRights: Sendable {
    let mode: UInt32
    let group: Int64
}

/// The file that this process has made for a unix listener.
package final class SocketFile: Sendable {
    private let path: String
    private let identity: Identity
    private let isRemoved = Atomic(false)

    /// Identifies a file on this machine as long as the file exists or is open.
    private struct Identity: Equatable {
        let device: dev_t
        let inode: ino_t
    }

    /// The file that a former program of this process has made.
    package init(path: String, device: UInt64, inode: UInt64) {
        self.path = path
        identity = Identity(device: dev_t(device), inode: ino_t(inode))
    }

    /// Where it is.
    package var place: String { path }

    /// What tells it from others that may be there later.
    package var numbers: (device: UInt64, inode: UInt64) {
        (UInt64(identity.device), UInt64(identity.inode))
    }

    private init(path: String, facts: stat) {
        self.path = path
        identity = SocketFile.identity(facts)
    }

    /// Creates the file with its mode and group ("" leaves the group as it is), and listens. A
    /// stale file, on which no process listens or is about to, is removed first.
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

    /// Removes the file, unless another has replaced it. Call it before the listener is closed:
    /// while the file is open, its inode number cannot be reused.
    package func remove() {
        guard !isRemoved.exchange(true, ordering: .relaxed) else { return }
        var facts = stat()
        guard lstat(path, &facts) == 0, SocketFile.identity(facts) == identity else { return }
        _ = unlink(path)
    }

    /// Gives the file another mode and group; "" is the group of the process. After a failure it
    /// may have one of them: `restore` puts back what it had.
    package func change(mode: UInt32, group: String) throws(ListenFailure) -> SocketRights {
        var facts = stat()
        guard lstat(path, &facts) == 0 else { throw .system(errno) }
        guard SocketFile.identity(facts) == identity else { throw .occupied(by: "another file") }
        let before = SocketRights(mode: UInt32(facts.st_mode) & 0o777, group: Int64(facts.st_gid))
        do throws(ListenFailure) {
            let name = group.isEmpty ? String(getegid()) : group
            try SocketFile.setPermissions(path: path, mode: mode, group: name)
        } catch {
            restore(before)
            throw error
        }
        return before
    }

    /// Puts the mode and group back that the file had. They were possible before.
    package func restore(_ rights: SocketRights) {
        _ = redpool_give_to_group(path, rights.group)
        _ = chmod(path, rights.mode)
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
        // A process that has bound the socket and not yet called listen refuses connects, like a
        // stale file. It may call listen between two of these checks, so the first one is repeated.
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
    /// True when no process listens on the address.
    fileprivate var refusesClients: Bool {
        let probe = connect(keepaliveSeconds: 0, userTimeoutMilliseconds: 0)
        if probe >= 0 { close(probe) }
        return probe == -ECONNREFUSED
    }
}
