import Pool
import Session
import Testing

@testable import HandOver

/// What is wrong with a file whose parts do not fit together, or are too large. It is neither
/// written nor read.
private func refusal(_ change: (inout HandOverFile) -> Void) -> String {
    var file = sample
    change(&file)
    var bytes = [UInt8](repeating: 7, count: 3)
    do {
        try file.encode(into: &bytes)
        return "it is written"
    } catch {
        if bytes != [7, 7, 7] { return "something is written" }
        return error.text(reader: "1.2.0")
    }
}

/// The same for a cell.
private func refusal(cell change: (inout CarriedCell) -> Void) -> String {
    refusal { change(&$0.cells[0]) }
}

struct ContradictionTests {
    @Test func filesOfTheConfiguration() {
        #expect(
            refusal {
                $0.files[0].bytes = [UInt8](repeating: 1, count: FileLimits.contents + 1)
            } == "a secret of 2097153 bytes is longer than 2097152")
        #expect(
            refusal {
                $0.files[1].path = String(repeating: "/", count: FileLimits.name + 1)
            } == "a text of 65537 bytes is longer than 65536")
        #expect(
            refusal {
                $0.files = Array(
                    repeating: CarriedContents(path: "", bytes: nil),
                    count: CarriedContents.most + 1)
            } == "count 65537 of files is more than fits")
    }

    @Test func numbersOfTheProcess() {
        #expect(refusal { $0.process.threads = 0 } == "number of threads 0 is out of range")
        #expect(
            refusal { $0.process.lastClient = .max }
                == "last client 18446744073709551615 is out of range")
        #expect(
            refusal {
                $0.listeners[1].purpose = .pool("main")
                $0.listeners[1].number = 0
            } == "listener 0 is there twice")
        #expect(
            refusal { $0.callers[0].protocolVersion = 4 } == "protocol version 4 is out of range")
        #expect(
            refusal { $0.counters[0].values[0] = 1 << 61 }
                == "counter 2305843009213693952 is out of range")
        #expect(refusal { $0.cells.append($0.cells[0]) } == "client 109 is there twice")
    }

    @Test func sizes() {
        let name = [UInt8](repeating: 0x61, count: 65_537)
        #expect(
            refusal(cell: { $0.clients[0].session.identity.name = name })
                == "a name of 65537 bytes is longer than 65536")
        #expect(
            refusal(cell: { $0.clients[0].input = [UInt8](repeating: 0, count: (4 << 20) + 1) })
                == "a secret of 4194305 bytes is longer than 4194304")
        #expect(
            refusal { $0.process.version = String(repeating: "x", count: 65_537) }
                == "a text of 65537 bytes is longer than 65536")
        #expect(
            refusal { $0.cells = (0..<248).map { _ in CarriedCell() } }
                == "257 sections are more than a hand-over file may have (256)")
        let listener = sample.listeners[0]
        #expect(
            refusal {
                $0.listeners =
                    (0...65_535).map {
                        var next = listener
                        next.number = UInt16($0)
                        return next
                    } + [listener]
            } == "listener 0 is there twice")
    }

    @Test func users() {
        #expect(
            refusal(cell: { $0.clients[0].session.key.user = 2 })
                == "there is no number 2 of users")
        #expect(
            refusal(cell: { $0.upstreams[0].key.user = 2 }) == "there is no number 2 of users")
        #expect(refusal(cell: { $0.hubs[0].user = 9 }) == "there is no number 9 of users")
        #expect(refusal(cell: { $0.pools[0].users[1].number = 1 }) == "user 1 is there twice")
        #expect(refusal(cell: { $0.pools[0].lastUser = 2 }) == "user 3 is out of range")
        #expect(refusal(cell: { $0.pools[0].users[0].number = 0 }) == "user 0 is out of range")
        #expect(
            refusal(cell: { $0.pools[0].newestDefault = 2 }) == "there is no number 2 of users")
    }

    @Test func places() {
        #expect(refusal(cell: { $0.clients[0].pool = 1 }) == "there is no number 1 of pools")
        #expect(refusal(cell: { $0.clients[0].server = 1 }) == "there is no number 1 of servers")
        #expect(refusal(cell: { $0.servers[0].pool = 1 }) == "there is no number 1 of pools")
        #expect(refusal(cell: { $0.upstreams[0].server = 1 }) == "there is no number 1 of servers")
        #expect(refusal(cell: { $0.hubs[0].pool = 1 }) == "there is no number 1 of pools")
        #expect(refusal(cell: { $0.upstreams[5].use = .hub(1) }) == "there is no number 1 of hubs")
        #expect(
            refusal(cell: { $0.clients[0].output = [.block(1, from: 0, to: 0)] })
                == "there is no number 1 of blocks")
        #expect(
            refusal(cell: { $0.clients[0].output = [.block(0, from: 0, to: 15)] })
                == "there is no number 15 of bytes in a block")
        #expect(
            refusal(cell: { $0.upstreams[1].expectations[0].client = 7 })
                == "there is no number 7 of clients")
        #expect(
            refusal(cell: { $0.pools[0].subscriptions.subscribers[0].entries = [2] })
                == "there is no number 2 of entries")
        #expect(
            refusal(cell: { $0.pools[0].subscriptions.subscribers[0].client = ClientRef(.max) })
                == "there is no number 4294967295 of clients")
        #expect(
            refusal(cell: { $0.upstreams[1].id = $0.upstreams[0].id })
                == "upstream 4294967316 is there twice")
        #expect(
            refusal(cell: { cell in
                cell.pools.append(CarriedPool(name: "other"))
                cell.clients[1].pool = 1
            }) == "server 0 is not of pool 1")
    }

    @Test func uses() {
        #expect(
            refusal(cell: { $0.upstreams.remove(at: 2) }) == "client 2 has no upstream")
        #expect(
            refusal(cell: { $0.upstreams[2].use = .piped(client: 2, since: moment(1)) })
                == "client 2 does not have what its upstream says")
        #expect(
            refusal(cell: { $0.upstreams[0].use = $0.upstreams[4].use })
                == "client with an upstream of its own 4 is there twice")
        #expect(
            refusal(cell: { $0.upstreams[0].expectations = $0.upstreams[1].expectations })
                == "an idle upstream owes replies")
        #expect(
            refusal(cell: { $0.upstreams[2].expectations[0].client = 1 })
                == "an upstream of client 2 owes 1 a reply")
        #expect(
            refusal(cell: { $0.upstreams[1].expectations[0].count = 0 })
                == "number of replies 0 is out of range")
        #expect(
            refusal(cell: { $0.upstreams[1].expectations[0].count = .max })
                == "number of replies 4294967296 is out of range")
        #expect(
            refusal(cell: { $0.upstreams.removeLast() }) == "hub 0 has no upstream")
    }

    @Test func maps() {
        func refusal(_ slots: [CarriedMap.Slots]) -> String {
            HandOverTests.refusal { file in
                guard case .cluster(var map) = file.topologies[1].source else { return }
                map.slots = slots
                file.topologies[1].source = .cluster(map)
            }
        }
        #expect(refusal([.init(first: 2, last: 1, node: 0)]) == "slot 2 is out of range")
        #expect(
            refusal([.init(first: 0, last: 5, node: 0), .init(first: 5, last: 6, node: 1)])
                == "slot 5 is out of range")
        #expect(refusal([.init(first: 1, last: 16_384, node: 0)]) == "slot 1 is out of range")
        #expect(
            refusal([.init(first: 1, last: 2, node: 2)]) == "there is no number 2 of nodes")
    }

    @Test func descriptors() throws {
        var file = sample
        try file.checkDescriptors()
        file.cells[0].clients[3].descriptor = 20
        // Snapshots of running workers may name one twice.
        let bytes = try encoded(file)
        #expect(try HandOverFile.decode(bytes.span) == file)
        #expect(throws: HandOverError.twice(20, of: "descriptor")) { try file.checkDescriptors() }
    }
}

/// What a reader finds in the middle of a file.
struct BrokenValueTests {
    /// Replaces the first place where the bytes of `old` stand.
    private func refusal(_ old: [UInt8], _ new: [UInt8]) throws -> String {
        var bytes = try encoded(sample)
        let place = try #require(
            bytes.indices.first { Array(bytes[$0...].prefix(old.count)) == old })
        bytes.replaceSubrange(place..<(place + old.count), with: new)
        seal(&bytes)
        do {
            _ = try HandOverFile.decode(bytes.span)
            return "it is read"
        } catch {
            return error.text(reader: "1.2.0")
        }
    }

    private func word(_ text: String) -> [UInt8] {
        [UInt8(text.utf8.count), 0, 0, 0] + Array(text.utf8)
    }

    @Test func words() throws {
        for (old, new, text) in [
            ("waiting", "waitinG", "state of a client waitinG is not known"),
            ("skip", "skiP", "reply mode skiP is not known"),
            ("held", "helD", "use of an upstream helD is not known"),
            ("spoken", "spokeN", "knowledge of RESP3 spokeN is not known"),
            ("no-evict", "no-evicT", "flag of a connection no-evicT is not known"),
            ("write", "writE", "expectation writE is not known"),
            ("console", "consolE", "purpose of a listener consolE is not known"),
            ("pattern", "patterN", "kind of subscription patterN is not known"),
            ("echo", "echO", "form of a fence echO is not known"),
            ("sent", "senT", "stage of a transaction senT is not known"),
            ("block", "blocK", "part of output blocK is not known"),
            ("cluster", "clusteR", "source of servers clusteR is not known"),
        ] {
            // The pool of this name is a name as well.
            let before = old == "cluster" ? word("cluster") : []
            #expect(try refusal(before + word(old), before + word(new)) == text)
        }
    }

    @Test func countsAndTexts() throws {
        let clients = UInt32(sample.cells[0].clients.count)
        let first = [UInt8(clients), 0, 0, 0, 9, 0, 0, 0]
        #expect(
            try refusal(first, [0x00, 0x28, 0x6B, 0xEE] + [9, 0, 0, 0])
                == "count 4000000000 of clients is more than fits")
        #expect(
            try refusal(first, first.prefix(4) + [9, 0, 0, 0x80])
                == "descriptor 2147483657 is out of range")
        #expect(try refusal(word("1.4.0"), word("1.4.\u{0}")) == "it is read")
        #expect(
            try refusal(word("1.4.0"), [5, 0, 0, 0, 0xFF, 0x2E, 0x34, 0x2E, 0x30])
                == "section process has text that is not UTF-8")
        #expect(
            try refusal(word("1.4.0"), [5, 0, 2, 0] + Array("1.4.0".utf8))
                == "a text of 131077 bytes is longer than 65536")
    }
}
