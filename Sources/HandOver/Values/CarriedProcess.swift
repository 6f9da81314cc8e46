// What is carried of the process as a whole: itself, its listening sockets, what it has read, and
// those who wait for the answer to UPGRADE.

package import Pool

/// The process that hands over.
package struct CarriedProcess: Equatable, Sendable {
    /// The version of the program that wrote the file.
    package var version: String
    /// That of the program to be executed, as it has said in the rehearsal; empty before.
    package var successor: String
    /// How many workers it has.
    package var threads: UInt32
    package var pid: Int32
    /// When it was started first, however often it has been upgraded since.
    package var startedAt: MonotonicTime
    /// The same as seconds since 1970.
    package var startedOn: Int64
    /// When this upgrade was asked for.
    package var upgradeBegan: MonotonicTime
    /// The last id that a client has got, as CLIENT ID shows it.
    package var lastClient: UInt64
    /// The last number that an upstream has got, as the console shows it.
    package var lastUpstream: UInt64
    /// How often it has been upgraded.
    package var upgrades: UInt32

    package init(
        version: String, successor: String = "", threads: UInt32, pid: Int32,
        startedAt: MonotonicTime, startedOn: Int64, upgradeBegan: MonotonicTime,
        lastClient: UInt64, lastUpstream: UInt64, upgrades: UInt32
    ) {
        self.version = version
        self.successor = successor
        self.threads = threads
        self.pid = pid
        self.startedAt = startedAt
        self.startedOn = startedOn
        self.upgradeBegan = upgradeBegan
        self.lastClient = lastClient
        self.lastUpstream = lastUpstream
        self.upgrades = upgrades
    }
}

/// A listening socket.
package struct CarriedListener: Equatable, Sendable {
    /// Whose clients connect here.
    package enum Purpose: Equatable, Sendable {
        case pool(String)
        case console
        case http
    }

    package var descriptor: Int32
    package var purpose: Purpose
    /// The address in the syntax of the configuration.
    package var address: String
    /// Its number among the listeners of pools: clients have it.
    package var number: UInt16
    /// The file of a unix listener that the process removes at its end.
    package var file: CarriedFile?

    package init(
        descriptor: Int32, purpose: Purpose, address: String, number: UInt16,
        file: CarriedFile? = nil
    ) {
        self.descriptor = descriptor
        self.purpose = purpose
        self.address = address
        self.number = number
        self.file = file
    }
}

/// A socket file. It is removed only while it is still the same file.
package struct CarriedFile: Equatable, Sendable {
    package var path: String
    package var device: UInt64
    package var inode: UInt64

    package init(path: String, device: UInt64, inode: UInt64) {
        self.path = path
        self.device = device
        self.inode = inode
    }
}

/// What a file has that the configuration names. No program reads it again before a reload.
package struct CarriedContents: Equatable, Sendable {
    /// As the configuration's reader has made it: not necessarily absolute.
    package var path: String
    /// At most 2 MB; nil if the file could not be read.
    package var bytes: [UInt8]?

    package init(path: String, bytes: [UInt8]?) {
        self.path = path
        self.bytes = bytes
    }
}

/// A console connection that waits for the answer to UPGRADE. The successor answers it.
package struct CarriedCaller: Equatable, Sendable {
    package var descriptor: Int32
    /// RESP version, 2 or 3.
    package var protocolVersion: UInt8
    /// It has sent UPGRADE CUT.
    package var cuts: Bool
    /// Bytes that it has sent behind UPGRADE.
    package var input: [UInt8]

    package init(descriptor: Int32, protocolVersion: UInt8, cuts: Bool, input: [UInt8] = []) {
        self.descriptor = descriptor
        self.protocolVersion = protocolVersion
        self.cuts = cuts
        self.input = input
    }
}

/// A sum that goes on, so that no metric falls: the last numbers under a name.
package struct CarriedCounter: Equatable, Sendable {
    /// The pool; nil for the process.
    package var pool: String?
    package var name: String
    package var values: [UInt64]

    package init(pool: String?, name: String, values: [UInt64]) {
        self.pool = pool
        self.name = name
        self.values = values
    }
}
