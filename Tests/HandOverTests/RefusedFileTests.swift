import Foundation
import Pool
import Session
import TestSupport
import Testing

@testable import HandOver

/// What a file says that was changed: nil if it is refused.
private func read(_ bytes: [UInt8]) -> HandOverFile? { try? HandOverFile.decode(bytes.span) }

/// A file that is read must be one that can be written, and is then read as the same.
private func isConsistent(_ file: HandOverFile) throws -> Bool {
    read(try encoded(file)) == file
}

struct RefusedFileTests {
    @Test func everyTruncationIsRefused() throws {
        let bytes = try encoded(sample)
        for count in bytes.indices { #expect(read(Array(bytes[..<count])) == nil) }
        #expect(read(bytes + [0]) == nil)
    }

    /// The same with a header that fits.
    @Test func everyTruncationWithARightHeaderIsRefused() throws {
        let bytes = try encoded(sample)
        for count in FileFrame.headerLength..<bytes.count {
            var part = Array(bytes[..<count])
            for place in 0..<8 {
                part[24 + place] = UInt8(truncatingIfNeeded: count >> (8 * place))
            }
            seal(&part)
            #expect(read(part) == nil)
        }
    }

    @Test func everyFlippedBitIsRefused() throws {
        var bytes = try encoded(sample)
        for place in bytes.indices {
            for bit in 0..<8 {
                bytes[place] ^= 1 << bit
                #expect(read(bytes) == nil)
                bytes[place] ^= 1 << bit
            }
        }
        #expect(read(bytes) == sample)
    }

    /// The decoder sees what the checksum would keep from it.
    @Test func flippedBitsWithARightChecksumAreHarmless() throws {
        let bytes = try encoded(sample)
        var readable = 0
        for place in 8..<bytes.count {
            for bit in 0..<8 {
                var flipped = bytes
                flipped[place] ^= 1 << bit
                seal(&flipped)
                guard let file = read(flipped) else { continue }
                readable += 1
                #expect(try isConsistent(file))
            }
        }
        #expect(readable > 1000)
    }

    /// A number of any kind that becomes as large as it can be.
    @Test func largeNumbersAllocateNothing() throws {
        let bytes = try encoded(sample)
        let before = residentPages()
        for place in 8..<(bytes.count - 4) {
            for value in [[0xFF, 0xFF, 0xFF, 0xFF], [0xFF, 0xFF, 0xFF, 0x7F], [0, 0, 0x10, 0]]
                as [[UInt8]]
            {
                var changed = bytes
                changed.replaceSubrange(place..<(place + 4), with: value)
                seal(&changed)
                if let file = read(changed) { #expect(try isConsistent(file)) }
            }
        }
        // 64 MB.
        #expect(residentPages() - before < 16_384)
    }

    private func residentPages() -> Int {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        return text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    }

    // MARK: Texts

    private func error(_ bytes: [UInt8]) -> String {
        do {
            _ = try HandOverFile.decode(bytes.span)
            return "it is read"
        } catch {
            return error.text(reader: "1.2.0")
        }
    }

    /// A file of only what every file has. Its process begins at 96.
    private func small() throws -> [UInt8] {
        try encoded(HandOverFile(process: sample.process, configuration: "x: y"))
    }

    private func changed(_ place: Int, _ value: [UInt8]) throws -> [UInt8] {
        var bytes = try small()
        bytes.replaceSubrange(place..<(place + value.count), with: value)
        seal(&bytes)
        return bytes
    }

    @Test func framesThatAreRefused() throws {
        #expect(error([]) == "this is not a hand-over file")
        #expect(error(Array("RPHO".utf8)) == "this is not a hand-over file")
        #expect(error(try changed(0, [0x50])) == "this is not a hand-over file")
        #expect(
            error(try changed(8, [3, 0, 0, 0]))
                == "1.2.0 does not read hand-over version 3 (it reads 1)")
        #expect(
            error(try changed(12, [2, 0, 0, 0]))
                == "1.2.0 does not read hand-over version 1 (it reads 1)")
        let length = try small().count
        #expect(
            error(try changed(24, [9, 0, 0, 0]))
                == "the hand-over file has \(length) bytes, but says that it has 9")
        #expect(
            error(try changed(16, [1, 1, 0, 0]))
                == "257 sections are more than a hand-over file may have (256)")
        var broken = try small()
        broken[length - 1] ^= 1
        #expect(error(broken) == "the checksum of the hand-over file is wrong")
        #expect(
            error(try changed(16, [7, 0, 0, 0])) == "section of sections goes on behind its end")
        #expect(
            error(try changed(64, Array("elephant".utf8)))
                == "section elephant is not known, and may not be left out")
        // Without the flag it may be left out; but the process is then missing.
        #expect(
            error(try changed(64, Array("elephant".utf8) + [UInt8](repeating: 0, count: 9)))
                == "section process is missing")
        #expect(
            error(try changed(88, [0xFF, 0xFF, 0xFF, 0]))
                == "section process ends in the middle")
    }
}
