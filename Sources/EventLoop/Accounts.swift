// Users and groups of the machine, and what they can read.

internal import CLibevent
internal import Glibc

/// Questions about the users and groups of the machine.
package enum Accounts {
    /// Whether there is a group with this name, or the name is a number.
    package static func hasGroup(_ name: String) -> Bool { redpool_group_id(name) >= 0 }

    /// Whether the mode of a file lets every user read it. Nil if there is no regular file.
    package static func isOpen(_ path: String) -> Bool? {
        var facts = stat()
        guard stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else { return nil }
        return facts.st_mode & S_IROTH != 0
    }

    /// Whether others than root and its owner can write a file: every user, or its group if that is
    /// not root's. False if there is no regular file.
    package static func isWritable(_ path: String) -> Bool {
        var facts = stat()
        guard stat(path, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else { return false }
        return facts.st_mode & S_IWOTH != 0 || (facts.st_mode & S_IWGRP != 0 && facts.st_gid != 0)
    }

    /// Whether a user can read a file: by its mode and those of the directories above it. Nil if
    /// there is no such user, if the file cannot be found, or if an access control list decides.
    package static func canRead(_ path: String, user: String) -> Bool? {
        guard let account = Account(user), let resolved = realpath(path, nil) else { return nil }
        defer { free(resolved) }
        let whole = String(cString: resolved)
        var wanted = [(path: whole, right: UInt32(R_OK))]
        for index in whole.indices where whole[index] == "/" {
            let above = index == whole.startIndex ? "/" : String(whole[..<index])
            wanted.append((above, UInt32(X_OK)))
        }
        for step in wanted {
            var facts = stat()
            guard stat(step.path, &facts) == 0 else { return nil }
            if account.has(step.right, on: facts) { continue }
            return redpool_has_access_list(step.path) ? nil : false
        }
        return true
    }

    /// A user with his groups.
    private struct Account {
        let id: uid_t
        let groups: Set<gid_t>

        init?(_ name: String) {
            guard let entry = getpwnam(name) else { return nil }
            id = entry.pointee.pw_uid
            var found = [gid_t](repeating: 0, count: 1024)
            var count = Int32(found.count)
            guard getgrouplist(name, entry.pointee.pw_gid, &found, &count) >= 0 else { return nil }
            groups = Set(found.prefix(Int(count)))
        }

        /// The bits of the class that the kernel looks at: owner, group or others.
        func has(_ right: UInt32, on facts: stat) -> Bool {
            if id == 0 { return true }
            let shift: UInt32 = facts.st_uid == id ? 6 : groups.contains(facts.st_gid) ? 3 : 0
            return facts.st_mode >> shift & right == right
        }
    }
}
