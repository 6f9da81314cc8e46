// Descriptors that are kept open for the console, so that it can be reached when the process has no
// other ones left.

import EventLoop
import Glibc

/// Open descriptors that stand for nothing.
struct SpareDescriptors: ~Copyable {
    private var kept: [Int32] = []
    private let wanted: Int

    /// Opens `count` of them, as far as the system allows.
    init(_ count: Int) {
        wanted = count
        fill()
    }

    deinit { for descriptor in kept { close(descriptor) } }

    var count: Int { kept.count }

    /// Gives one up: the next descriptor that is opened takes its place.
    mutating func giveUp() {
        if let descriptor = kept.popLast() { close(descriptor) }
    }

    /// Opens what is missing, but for `used` of them.
    mutating func fill(used: Int = 0) {
        while kept.count > max(0, wanted - used) { giveUp() }
        while kept.count < wanted - used {
            let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
            if descriptor < 0 { return }
            kept.append(descriptor)
        }
    }
}
