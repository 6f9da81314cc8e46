import Foundation
import Pool
import Session
import TestSupport
import Testing

@testable import HandOver

func encoded(_ file: HandOverFile) throws -> [UInt8] {
    var bytes: [UInt8] = []
    try file.encode(into: &bytes)
    return bytes
}

/// Puts the right checksum into a file that was changed.
func seal(_ bytes: inout [UInt8]) {
    let sum = FileFrame.checksum(of: bytes.span)
    for place in 0..<4 { bytes[4 + place] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * place)) }
}

struct HandOverFileTests {
    @Test(arguments: 0..<UInt64(300))
    func everyValueComesBack(seed: UInt64) throws {
        var random = RandomFile(seed: seed)
        let file = random.make()
        let bytes = try encoded(file)
        #expect(try HandOverFile.decode(bytes.span) == file)
        try file.checkDescriptors()
    }

    @Test func everyPartOccursInRandomFiles() {
        var cells: [CarriedCell] = []
        for seed in 0..<UInt64(300) {
            var random = RandomFile(seed: seed)
            cells += random.make().cells
        }
        let uses = cells.flatMap(\.upstreams).map(\.use)
        #expect(uses.contains { if case .held = $0 { true } else { false } })
        #expect(uses.contains { if case .hub = $0 { true } else { false } })
        #expect(uses.contains { if case .piped = $0 { true } else { false } })
        #expect(uses.contains { if case .exclusive = $0 { true } else { false } })
        #expect(cells.contains { $0.pools.contains { !$0.subscriptions.subscribers.isEmpty } })
    }

    @Test func aFileIsAppended() throws {
        var bytes = Array("before".utf8)
        try sample.encode(into: &bytes)
        #expect(bytes.prefix(6) == Array("before".utf8)[...])
        #expect(Array(bytes.dropFirst(6)) == (try encoded(sample)))
        #expect(try HandOverFile.decode(bytes.span.extracting(6..<bytes.count)) == sample)
    }

    /// `REDPOOL_KEEP_FILE` writes the file that a release keeps for those after it.
    @Test func theFileOfThisVersionIsRead() throws {
        let kept = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "Files/version-1")
        if ProcessInfo.processInfo.environment["REDPOOL_KEEP_FILE"] != nil {
            try Data(try encoded(sample)).write(to: kept)
        }
        let bytes = Array(try Data(contentsOf: kept))
        #expect(try HandOverFile.decode(bytes.span) == sample)
        #expect(try encoded(sample) == bytes, "the format has changed: raise its version")
    }

    @Test func theChecksumIsCastagnolis() {
        for (text, sum) in [
            ("", 0), ("a", 0xC1D0_4330), ("123456789", 0xE306_9283),
            ("The quick brown fox jumps over the lazy dog", 0x2262_0404),
        ] as [(String, UInt32)] {
            var checksum = Checksum()
            checksum.add(Array(text.utf8).span)
            #expect(checksum.value == sum)
        }
        var random = SeededRandom(seed: 5)
        for _ in 0..<100 {
            let bytes = random.bytes(random.below(100))
            let cut = random.below(bytes.count + 1)
            var whole = Checksum()
            whole.add(bytes.span)
            var parts = Checksum()
            parts.add(bytes.span.extracting(0..<cut))
            parts.add(bytes.span.extracting(cut..<bytes.count))
            #expect(whole.value == parts.value)
        }
    }

    /// What an expectation is called in a file never changes.
    @Test func expectationsHaveTheirWords() {
        #expect(
            Expectation.words.joined(separator: " ")
                == """
                plain placed placedBlock placedExec confirmation mirrorName mirrorInfo rewriteID \
                rewriteName rewriteInfo rewriteList hello helloChange authenticate judged select \
                multi exec discard watch unwatch subscribe unsubscribeChannels \
                unsubscribePatterns unsubscribeShards execWalked trackingOn trackingOff monitor \
                flagOn flagOff bind redirection stranger unknown ofModule unclear beforeLogin \
                lockQuestion scriptQuestion debug write pause unpause heldUp block blockEnd probe \
                fence commandInfo kill unblock identify replication ask relayed published \
                subscriberNumbers shardNumbers hubProbe gated unblocking recalled ignored reset clean
                """)
    }

    /// 10,000 idle clients: at most 4 MB.
    @Test func idleClientsTakeLittle() throws {
        var file = HandOverFile(process: sample.process, configuration: "")
        var cell = CarriedCell()
        cell.pools = [CarriedPool(name: "main")]
        for index in 0..<10_000 {
            var client = CarriedClient(
                descriptor: Int32(10 + index), serial: UInt64(index), pool: 0, listener: 0,
                mode: .open, session: CarriedSession(key: key), connectedAt: moment(1),
                lastActivity: moment(2))
            client.lastCommand = "client|setname"
            client.session.identity.name = Array("a name of 24 characters.".utf8)
            cell.clients.append(client)
        }
        file.cells = [cell]
        let bytes = try encoded(file)
        #expect(bytes.count <= 4 << 20)
        #expect(try HandOverFile.decode(bytes.span).cells[0].clients.count == 10_000)
    }

    // MARK: Secrets

    @Test(arguments: 0..<UInt64(50))
    func redactedFilesHaveNoSecrets(seed: UInt64) throws {
        var random = RandomFile(seed: seed)
        let file = random.make()
        let bytes = try encoded(file.redacted)
        let decoded = try HandOverFile.decode(bytes.span)
        #expect(decoded == file.redacted)
        #expect(decoded.redacted == decoded)
        for part in try HandOverFile.secretParts(of: bytes.span) {
            #expect(bytes[part].allSatisfy { $0 == 0 })
        }
        #expect(bytes.count == (try encoded(file)).count)
    }

    @Test func secretsAreInSecretPartsOnly() throws {
        var bytes = try encoded(sample)
        let canary = Array("canary".utf8)
        func canaries() -> Int {
            bytes.indices.dropLast(canary.count - 1).count {
                Array(bytes[$0..<($0 + canary.count)]) == canary
            }
        }
        #expect(canaries() == 11)
        for part in try HandOverFile.secretParts(of: bytes.span) {
            for place in part { bytes[place] = 0 }
        }
        #expect(canaries() == 0)
        #expect(throws: HandOverError.checksum) { try HandOverFile.decode(bytes.span) }
    }
}
