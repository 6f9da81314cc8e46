import Foundation
import RESP
import Session
import TestSupport
import Testing

private let table = CommandTable()
private let folder = URL(filePath: #filePath).deletingLastPathComponent()

/// The lines of a file beside this one, in two fields. Tests/Differential/key_cases.py writes them,
/// and test_keys.py compares them with servers.
private func recorded(_ name: String) throws -> [(first: [UInt8], second: [UInt8])] {
    let text = try Data(contentsOf: folder.appending(path: name))
    return [UInt8](text).split(separator: 10).map { line in
        let fields = line.split(separator: 9, omittingEmptySubsequences: false)
        return (Array(fields[0]), Array(fields[1]))
    }
}

private func words(_ text: [UInt8]) -> [[UInt8]] {
    text.split(separator: 32).map { $0.elementsEqual(Array("\"\"".utf8)) ? [] : Array($0) }
}

/// The keys that the walk finds; nil when it finds the command malformed.
private func keys(_ words: [[UInt8]]) throws -> [[UInt8]]? {
    let (bytes, frame) = try framed(words)
    let spec = try #require(table.keySpec(table.find(bytes.span, frame)))
    guard var walk = KeyWalk(spec, bytes.span, frame) else { return nil }
    var found: [[UInt8]] = []
    while let place = walk.next(bytes.span) {
        found.append(Array(bytes[place.start..<(place.start + place.length)]))
    }
    return found
}

/// Bit by bit.
private func plainSlot(_ key: ArraySlice<UInt8>) -> UInt16 {
    var hashed = key
    if let open = key.firstIndex(of: UInt8(ascii: "{")),
        let close = key[open...].firstIndex(of: UInt8(ascii: "}")), close > open + 1
    {
        hashed = key[(open + 1)..<close]
    }
    var sum: UInt16 = 0
    for byte in hashed {
        sum ^= UInt16(byte) << 8
        for _ in 0..<8 { sum = sum & 0x8000 != 0 ? (sum << 1) ^ 0x1021 : sum << 1 }
    }
    return sum & 16_383
}

private func slots(_ text: String) throws -> KeySlots {
    let (bytes, frame) = try framed(words(Array(text.utf8)))
    return table.slots(table.find(bytes.span, frame), bytes.span, frame)
}

@Suite("Keys of commands, and their slots")
struct KeyWalkTests {
    @Test("slots are those of CLUSTER KEYSLOT")
    func recordedSlots() throws {
        let lines = try recorded("slots.tsv")
        #expect(lines.count > 300)
        for (key, slot) in lines {
            let found = Slot.of(key.span, start: 0, length: key.count)
            #expect(Array("\(found)".utf8) == slot, "\(String(decoding: key, as: UTF8.self))")
        }
    }

    @Test("slots of keys of any length, at any place, with braces and without")
    func anyKey() {
        var random = SeededRandom(seed: 1)
        for _ in 0..<20_000 {
            let isBraced = random.chance(50)
            let bytes = (0..<(1 + random.below(40))).map { _ in
                isBraced ? Array("{}ab|z".utf8)[random.below(6)] : UInt8(random.below(256))
            }
            let start = random.below(bytes.count)
            let length = random.below(bytes.count - start + 1)
            let key = bytes[start..<(start + length)]
            #expect(Slot.of(bytes.span, start: start, length: length) == plainSlot(key))
        }
    }

    @Test("only the key's own bytes count, and its first tag")
    func bounds() {
        let text = Array("}{x}{foo}bar}".utf8)
        #expect(Slot.of(Array("foo".utf8).span, start: 0, length: 3) == 12182)
        #expect(Slot.of(text.span, start: 4, length: 5) == 12182)
        #expect(Slot.of(text.span, start: 5, length: 3) == 12182)
        #expect(Slot.of(text.span, start: 5, length: 0) == 0)
        #expect(Slot.of(text.span, start: 20, length: 3) == 0)
        let long = Array("{foo}".utf8) + [UInt8](repeating: 0, count: 65_536)
        #expect(Slot.of(long.span, start: 0, length: long.count) == 12182)
    }

    @Test("keys are those of COMMAND GETKEYS")
    func recordedKeys() throws {
        let lines = try recorded("keys.tsv")
        #expect(lines.count > 1000)
        for (command, expected) in lines {
            let found = try keys(words(command)) ?? []
            let wanted = expected == Array("-".utf8) ? [] : words(expected)
            #expect(found == wanted, "\(String(decoding: command, as: UTF8.self))")
        }
    }

    @Test("every command of the table has a recorded line, if it has keys")
    func complete() throws {
        let names = Set(
            try recorded("keys.tsv").map { line in
                let (bytes, frame) = try framed(words(line.first))
                return table.find(bytes.span, frame)
            })
        let missing = table.all.indices.compactMap { Command(rawValue: UInt16($0)) }.filter {
            table.keySpec($0) != KeySpec.none && !names.contains($0)
        }
        // Not on the servers that were asked.
        let channels: Set<Command> = [.spublish, .ssubscribe, .sunsubscribe]
        let newer: Set<Command> = [
            .delex, .delifeq, .digest, .msetex, .vrange, .xackdel, .xcfgset, .xdelex,
        ]
        #expect(Set(missing) == channels.union(newer))
    }

    @Test("one slot, several, none")
    func several() throws {
        #expect(try slots("GET foo") == .one(12182))
        #expect(try slots("MGET foo {foo}2 3{foo}") == .one(12182))
        #expect(try slots("MGET foo bar") == .several(first: 12182))
        #expect(try slots("PING") == .none)
        #expect(try slots("EVAL x 0 foo bar") == .none)
        #expect(try slots("EVAL x 3 foo bar") == .malformed)
        #expect(try slots("NOSUCH foo") == .malformed)
        #expect(try slots("GET") == .malformed)
        #expect(try slots("SSUBSCRIBE foo bar") == .several(first: 12182))
        #expect(try slots("MSETEX 2 foo 1 {foo}b 2 EX 3") == .one(12182))
        #expect(try slots("ZUNIONSTORE foo 1 bar") == .several(first: 12182))
    }

    /// A walk gets what the scanner has found, or other bytes; neither may trap.
    @Test("no words and no bytes trap", arguments: 0..<6)
    func hostile(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let options = [
            "streams", "store", "storedist", "keys", "limit", "get", "group", "auth2", "-1", "0",
            "2", "99999999999999999999", "", "count",
        ]
        let commands = table.all.indices.compactMap { Command(rawValue: UInt16($0)) }
        for _ in 0..<600 {
            let command = commands[random.below(commands.count)]
            let count = 1 + random.below(9)
            let (bytes, frame) = try framed(
                (0..<count).map { _ in Array(options[random.below(options.count)].utf8) })
            _ = table.slots(command, bytes.span, frame)
            let other = random.bytes(bytes.count)
            _ = table.slots(command, other.span, frame)
            _ = table.slots(command, Array(bytes.prefix(random.below(bytes.count))).span, frame)
        }
    }
}
