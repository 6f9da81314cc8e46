import Session
import Testing

@Suite struct SubscriberCorrectionTests {
    private typealias Reach = SubscriberCounts.Reach

    /// Listeners, their hubs, hubs that leave; what the server counts, what there is.
    private static let rows: [(Int, Int, Int, Int64, Int64)] = [
        (5, 1, 0, 1, 5), (5, 1, 0, 3, 7), (5, 2, 0, 2, 5),
        // A hub is lost just now.
        (5, 2, 0, 1, 1), (5, 2, 1, 0, 0),
        // One leaves, and may have left.
        (0, 0, 1, 1, 0), (0, 0, 1, 0, 0), (0, 0, 1, 4, 3), (0, 0, 2, 1, 0),
        (5, 1, 1, 2, 5), (5, 1, 1, 1, 5), (5, 1, 2, 2, 5), (5, 1, 1, 6, 9),
        (1, 1, 1, 2, 1), (1, 1, 1, 1, 1),
        // The hub is at another node of a cluster.
        (3, 0, 0, 0, 3), (3, 0, 0, 2, 5), (1_048_575, 63, 63, 200, 1_048_649),
    ]

    @Test func clientsCountInPlaceOfHubs() throws {
        for (listeners, hubs, leaving, number, expected) in Self.rows {
            let reach = Reach(listeners: listeners, hubs: hubs, leaving: leaving)
            let correction = try #require(SubscriberCorrection(reach))
            #expect(correction.apply(to: number) == expected, "\(reach), \(number)")
            #expect(correction.value != 0)
            #expect(SubscriberCorrection(value: correction.value) == correction)
            #expect(
                correction.apply(to: Array(":\(number)\r\n".utf8))
                    == Array(":\(expected)\r\n".utf8))
            #expect(correction.apply(to: Array("-ERR no\r\n".utf8)) == Array("-ERR no\r\n".utf8))
        }
    }

    @Test func whatNeedsNoneOrDoesNotFitIsLeft() {
        let reaches = [
            Reach(), Reach(listeners: 2, hubs: 2), Reach(listeners: 1 << 20, hubs: 1),
            Reach(listeners: 100, hubs: 64), Reach(listeners: 1, hubs: 1, leaving: 64),
        ]
        for reach in reaches { #expect(SubscriberCorrection(reach) == nil, "\(reach)") }
    }
}
