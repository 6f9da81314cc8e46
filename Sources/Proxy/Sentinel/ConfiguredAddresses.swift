// The Sentinels or nodes of the configuration as addresses. A name stands for all its addresses,
// which are looked up again and again.

import Config
import EventLoop
import Pool
import Topology

/// The key `sentinels` or `cluster` of one pool.
struct ConfiguredAddresses {
    private struct Entry {
        let host: String
        let port: UInt16
        /// The address itself, if no name has to be looked up.
        let fixed: NodeAddress?
        /// What the name stands for.
        var found = AddressSet()
        /// Why the latest look-up has brought nothing.
        var problem: String?
        var askedAt: Int64?
        var isAsked = false
    }

    private var entries: [Entry]
    private let refresh: Int64
    private let most: Int

    /// While something is to be found out, names are looked up this often.
    static let searchInterval = Int64.seconds(1)

    /// - Parameters:
    ///   - refresh: the time between look-ups in quiet times, in nanoseconds; 0: none.
    ///   - most: bounds what the entries stand for.
    init(_ addresses: [UpstreamAddress], refresh: Int64, most: Int) {
        self.refresh = refresh
        self.most = most
        entries = addresses.compactMap { address in
            guard case .tcp(let host, let port) = address else { return nil }
            let isNumeric = SocketAddress(numericHost: host, port: port) != nil
            let fixed = isNumeric ? NodeAddress(host: Array(host.utf8), port: port) : nil
            return Entry(host: host, port: port, fixed: fixed)
        }
    }

    /// What the entries stand for, at most `most`: of each the first one before any second one.
    var addresses: [NodeAddress] {
        let lists = entries.map { $0.fixed.map { [$0] } ?? $0.found.current }
        var result: [NodeAddress] = []
        for place in 0..<(lists.map(\.count).max() ?? 0) {
            for list in lists where place < list.count && !result.contains(list[place]) {
                if result.count < most { result.append(list[place]) }
            }
        }
        return result
    }

    /// The name under which an address is configured; nil if it is not by a name.
    func name(of address: NodeAddress) -> String? {
        entries.first { $0.fixed == nil && $0.found.contains(address) }?.host
    }

    /// Names that stand for nothing, with the reason; nil before the first answer.
    var problems: [(name: String, text: String?)] {
        entries.filter { $0.fixed == nil && $0.found.current.isEmpty }.map { entry in
            ("\(entry.host):\(entry.port)", entry.problem.map { "cannot look up: \($0)" })
        }
    }

    /// The names that are to be looked up now.
    mutating func due(now: Int64, isSearching: Bool) -> [NameLookup.Question] {
        var questions: [NameLookup.Question] = []
        for index in entries.indices where !entries[index].isAsked {
            guard let dueAt = dueAt(entries[index], isSearching), dueAt <= now else { continue }
            entries[index].askedAt = now
            entries[index].isAsked = true
            questions.append(
                NameLookup.Question(host: entries[index].host, port: entries[index].port))
        }
        return questions
    }

    /// When `due` has something; nil for never.
    func nextDue(isSearching: Bool) -> Int64? {
        entries.filter { !$0.isAsked }.compactMap { dueAt($0, isSearching) }.min()
    }

    private func dueAt(_ entry: Entry, _ isSearching: Bool) -> Int64? {
        guard entry.fixed == nil else { return nil }
        guard let askedAt = entry.askedAt else { return .min }
        if isSearching || entry.found.current.isEmpty { return askedAt + Self.searchInterval }
        return refresh > 0 ? askedAt + refresh : nil
    }

    /// Takes an answer of the resolver.
    mutating func take(_ answer: NameAnswer, to question: NameLookup.Question) {
        for index in entries.indices
        where entries[index].host == question.host && entries[index].port == question.port {
            entries[index].isAsked = false
            entries[index].problem = answer.addresses.isEmpty ? answer.problem : nil
            _ = entries[index].found.take(
                answer.addresses.prefix(most).compactMap(\.node))
        }
    }
}
