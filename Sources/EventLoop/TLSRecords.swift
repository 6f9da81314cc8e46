// Where the records of ours end, in plaintext and in ciphertext. A record is opened only with its
// authentication tag, its last bytes: a peer whose kernel lacks the end of a record has not a byte
// of its plaintext. So what the peer's kernel has acknowledged is rounded down to a record's end.

/// The ends of records whose plaintext may be asked for, oldest first. Positions count from the
/// connection's first byte; those of ciphertext include the handshake.
struct TLSRecords {
    private struct Record {
        let plainEnd: Int64
        let cipherEnd: Int64
    }
    private var records: ContiguousArray<Record> = []
    /// The index of the first record that is not forgotten.
    private var first = 0
    /// Where the plaintext of the last forgotten record ends.
    private var forgotten: Int64 = 0

    var isEmpty: Bool { first == records.count }
    /// How many are kept. For tests.
    var count: Int { records.count - first }

    /// A record with the plaintext up to `plainEnd` can be opened once the peer has the ciphertext
    /// up to `cipherEnd`. Neither is less than before.
    mutating func add(plainEnd: Int64, cipherEnd: Int64) {
        records.append(Record(plainEnd: plainEnd, cipherEnd: cipherEnd))
    }

    /// Forgets records whose plaintext ends at `plainEnd` or before.
    mutating func forget(upTo plainEnd: Int64) {
        while first < records.count, records[first].plainEnd <= plainEnd {
            forgotten = records[first].plainEnd
            first += 1
        }
        if first == records.count {
            records = []
            first = 0
        } else if first >= 64, first * 2 >= records.count {
            records.removeFirst(first)
            first = 0
        }
    }

    /// How much plaintext the peer may have opened if it has this much ciphertext.
    func plaintext(within ciphertext: Int64) -> Int64 {
        var low = first
        var high = records.count
        while low < high {
            let middle = (low + high) / 2
            if records[middle].cipherEnd <= ciphertext { low = middle + 1 } else { high = middle }
        }
        return low == first ? forgotten : records[low - 1].plainEnd
    }
}
