import Pool

// Names that tests and simulators share.

let db0 = PoolKey(user: 0, protocolVersion: 2, database: 0)
let db1 = PoolKey(user: 0, protocolVersion: 2, database: 1)
let resp3 = PoolKey(user: 0, protocolVersion: 3, database: 0)
let otherUser = PoolKey(user: 7, protocolVersion: 2, database: 0)

/// An upstream by slot and generation.
func up(_ slot: UInt32, _ generation: UInt32 = 0) -> UpstreamID {
    UpstreamID(slot: slot, generation: generation)
}
