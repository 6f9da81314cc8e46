// The version: it is written here and nowhere else. Scripts read it from this file.

import CBuild

/// The version of this tree, as in CHANGELOG.md.
let redpoolVersion = "0.9.0"

/// The answer to `redpool version`: the version, and the commit if a package was built.
let fullVersion: String = {
    let commit = String(cString: redpool_commit())
    return commit.isEmpty ? redpoolVersion : "\(redpoolVersion) (commit \(commit))"
}()
