// A file in memory that an executed program reads. It can neither grow nor shrink once it is
// written, so a mapping of it can never fault; it can be overwritten, because it has passwords.

internal import CExec
internal import CLibevent
internal import Glibc

/// A file without a name.
package struct MemoryFile {
    package let descriptor: Int32

    /// Takes over a descriptor.
    package init(descriptor: Int32) { self.descriptor = descriptor }

    /// Makes a file with these bytes.
    package init(_ bytes: [UInt8]) throws(SystemError) {
        let made = redpool_memory_file()
        guard made >= 0 else { throw SystemError(code: -made) }
        descriptor = made
        do throws(SystemError) {
            try write(bytes)
            let result = redpool_seal_size(descriptor)
            if result < 0 { throw SystemError(code: -result) }
        } catch {
            Glibc.close(descriptor)
            throw error
        }
    }

    private func write(_ bytes: [UInt8]) throws(SystemError) {
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { raw in
                raw.baseAddress.map {
                    pwrite(descriptor, $0 + offset, raw.count - offset, off_t(offset))
                } ?? 0
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw SystemError(code: count < 0 ? errno : EIO) }
            offset += count
        }
    }

    /// All its bytes, if there are at most so many.
    package func read(most: Int) throws(SystemError) -> [UInt8] {
        var facts = stat()
        guard fstat(descriptor, &facts) == 0 else { throw SystemError(code: errno) }
        let size = Int(facts.st_size)
        guard size <= most else { throw SystemError(code: EFBIG) }
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let read = pread(
                    descriptor, buffer.baseAddress! + count, size - count, off_t(count))
                if read < 0, errno == EINTR { continue }
                guard read > 0 else {
                    failure = read < 0 ? errno : EIO
                    return
                }
                count += read
            }
        }
        if failure != 0 { throw SystemError(code: failure) }
        return bytes
    }

    /// Overwrites all of it with zeros, and closes it.
    package func wipeAndClose() {
        var facts = stat()
        if fstat(descriptor, &facts) == 0 {
            _ = redpool_wipe_file(descriptor, Int64(facts.st_size))
        }
        Glibc.close(descriptor)
    }

    package func close() { Glibc.close(descriptor) }
}

/// What executed programs inherit.
package enum Inheritance {
    /// Whether a descriptor stays open when another program is executed.
    package static func set(_ descriptor: Int32, _ isInherited: Bool) -> SystemError? {
        let result = redpool_set_inherited(descriptor, isInherited)
        return result < 0 ? SystemError(code: -result) : nil
    }

    /// No descriptor but the standard ones stays open then.
    package static func clear() -> SystemError? {
        let result = redpool_inherit_nothing()
        return result < 0 ? SystemError(code: -result) : nil
    }

    /// A descriptor of the program that is executing, even if its file is deleted.
    package static func ownProgram() -> Result<Int32, SystemError> {
        let result = redpool_own_program()
        return result < 0 ? .failure(SystemError(code: -result)) : .success(result)
    }
}
