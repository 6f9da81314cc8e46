import Topology

extension NodeAddress {
    /// An address for tests.
    static func test(_ kind: Int, _ number: Int) -> NodeAddress {
        guard
            let address = NodeAddress(
                host: Array("10.0.\(kind).\(number)".utf8), port: UInt16(6000 + 100 * kind + number)
            )
        else { fatalError("no address") }
        return address
    }
}
