// A `ClusterWatch` with nodes in the test's hand, on one loop.

import Config
import EventLoop
import Logging
import TestSupport
import Testing
import Topology

@testable import Proxy

final class MapWorld: ClusterWatchHandler {
    /// A node as the others describe it.
    struct Node {
        var epoch: Int64
        var slots: String
        /// The number of its primary.
        var primary: Int?
        /// What it is called besides its address.
        var name = ""
    }

    let loop: EventLoop
    let lines = LogLines()
    private(set) var watch: ClusterWatch!
    private(set) var maps: [SlotMap] = []
    /// What the handler was told while no map was known.
    private(set) var problems: [String] = []
    /// What all of them say; by their numbers.
    var nodes: [Node] = []
    private(set) var speakers: [SentinelSpeaker] = []

    init() throws { loop = try #require(EventLoop()) }

    /// Nodes that speak, each with these slots.
    func cluster(_ slots: [String], tls: TLSContext? = nil) throws {
        for (number, ranges) in slots.enumerated() {
            nodes.append(Node(epoch: Int64(number + 1), slots: ranges))
            try addSpeaker(tls: tls)
        }
    }

    /// A replica of the node with this number.
    func addReplica(of primary: Int) throws {
        nodes.append(Node(epoch: nodes[primary].epoch, slots: "", primary: primary))
        try addSpeaker()
    }

    private func addSpeaker(tls: TLSContext? = nil) throws {
        let number = speakers.count
        let speaker = try SentinelSpeaker(loop, tls: tls)
        speaker.instead = { [unowned self] words in
            words == ["CLUSTER", "NODES"] ? bulk(text(by: number)) : nil
        }
        speakers.append(speaker)
    }

    /// That of the node with this number, up to 9.
    static func id(_ number: Int) -> String { "\(number)" + String(repeating: "a", count: 39) }

    /// CLUSTER NODES by one of them.
    func text(by speaker: Int) -> String {
        nodes.indices.map { number in
            let node = nodes[number]
            let role = node.primary == nil ? "master" : "slave"
            let primary = node.primary.map { MapWorld.id($0) } ?? "-"
            let name = node.name.isEmpty ? "" : ",\(node.name)"
            return "\(MapWorld.id(number)) \(speakers[number].node)@1\(name) "
                + "\(number == speaker ? "myself," : "")\(role) \(primary) 0 0 \(node.epoch) "
                + "connected \(node.slots)"
        }.joined(separator: "\n") + "\n"
    }

    func pool(
        _ lines: [String] = [], seeds: [String]? = nil, files: [String: [UInt8]] = [:]
    ) throws -> PoolConfig {
        let places = seeds ?? speakers.map { "\($0.node)" }
        let list = places.map { "\"\($0)\"" }.joined(separator: ", ")
        return try configuration(lines: ["cluster: [\(list)]"] + lines, files: files).pools[0]
    }

    func start(_ pool: PoolConfig, names: NameLookup? = nil) throws {
        let lines = lines
        let log = Logger(label: "test") { _ in KeepingLogHandler(lines: lines) }
        let made = ClusterWatch(
            loop: loop, config: pool, log: log, names: names, handler: self)
        guard let made else { throw TestFailure("no descriptors") }
        watch = made
        made.start()
    }

    func published(_ map: SlotMap) { maps.append(map) }

    func unknown(_ problem: String) { problems.append(problem) }

    /// Turns until `condition` holds.
    func run(until what: String, _ condition: () -> Bool) throws {
        do {
            try loop.run(until: what, condition)
        } catch {
            throw TestFailure("\(error): \(watch.report), \(lines.all), \(problems)")
        }
    }

    /// The number of the node that the last map has for a slot.
    func owner(_ slot: UInt16) -> Int? {
        guard let address = maps.last?.owner(of: slot)?.address else { return nil }
        return speakers.firstIndex { $0.node == address }
    }

    func row(_ number: Int) -> ClusterRow? {
        watch.report.nodes.first { $0.address == "\(speakers[number].node)" }
    }
}
