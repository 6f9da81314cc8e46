import RESP
import Testing

@testable import Session

private let table = CommandTable()
private let commands = table.all.indices.compactMap { Command(rawValue: UInt16($0)) }

private func name(_ command: Command) -> String { table.info(command)?.name ?? "" }

@Suite("Where commands go in front of a cluster")
struct ClusterRuleTests {
    @Test("commands with keys, and only those, go by slot")
    func keys() {
        for command in commands {
            let isBySlot = [.slot, .split].contains(table.clusterRule(command))
            #expect(isBySlot == (table.keySpec(command) != KeySpec.none), "\(name(command))")
        }
        #expect(table.clusterRule(.unknown) == .slot)
    }

    @Test("commands that are split have parts and a merge")
    func split() {
        for command in commands {
            let isSplit = Merge(command, includesMSET: true) != nil
            #expect(isSplit == (table.clusterRule(command) == .split), "\(name(command))")
        }
    }

    @Test("a rule holds for a whole family where it is about the answer")
    func families() {
        for command in commands {
            let rule = table.clusterRule(command)
            let family = name(command).split(separator: "|")[0]
            #expect((rule == .scan) == (command == .scan))
            #expect((rule == .offset) == (command == .wait || command == .waitaof))
            if family == "cluster" { #expect(rule == .front, "\(name(command))") }
            if family == "sentinel" { #expect(rule == .any, "\(name(command))") }
        }
    }

    @Test(
        "some of each rule",
        arguments: [
            (Command.`get`, ClusterRule.slot), (.eval, .slot), (.watch, .slot), (.mset, .split),
            (.ping, .any), (.multi, .any), (.publish, .any), (.dbsize, .all), (.flushall, .all),
            (.configSet, .every), (.clientPause, .every), (.scan, .scan), (.readonly, .front),
            (.clusterSlots, .front), (.info, .one), (.shutdown, .refuse), (.monitor, .refuse),
            (.clientTracking, .refuse), (.wait, .offset),
        ])
    func examples(command: Command, rule: ClusterRule) {
        #expect(table.clusterRule(command) == rule)
    }
}
