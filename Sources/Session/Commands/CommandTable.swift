// From a command's name to its facts. One hash look-up per command, on names packed into integers:
// no strings, no allocation.

package import RESP

/// The key for a command or subcommand name of at most 24 bytes: three integers. Folding sets bit 5
/// of every byte, which is exact only for letters, so a match with any other byte is compared again
/// as a `Word`.
struct PackedName: Hashable {
    var low: UInt64 = 0
    var middle: UInt64 = 0
    var high: UInt64 = 0

    /// As in `Word`.
    static let longest = 24
    private static let fold: UInt64 = 0x2020_2020_2020_2020

    init(_ bytes: Span<UInt8>, start: Int, count: Int) {
        low = PackedName.word(bytes, start, min(count, 8))
        if count > 8 { middle = PackedName.word(bytes, start + 8, min(count - 8, 8)) }
        if count > 16 { high = PackedName.word(bytes, start + 16, min(count - 16, 8)) }
    }

    private static func word(_ bytes: Span<UInt8>, _ start: Int, _ count: Int) -> UInt64 {
        // The frame continues after the name, so eight bytes can nearly always be loaded at once.
        if count <= 8, start >= 0, start <= bytes.count &- 8 {
            let mask = UInt64.max &>> (64 &- UInt64(truncatingIfNeeded: count) &* 8)
            let eight = unsafe bytes.bytes.unsafeLoadUnaligned(
                fromByteOffset: start, as: UInt64.self)
            return (UInt64(littleEndian: eight) | PackedName.fold) & mask
        }
        var value: UInt64 = 0
        var shift: UInt64 = 0
        for index in start..<(start + count) {
            value |= (UInt64(bytes[index]) | PackedName.fold & 0xFF) &<< shift
            shift &+= 8
        }
        return value
    }

    /// `salt` is 0 for commands and 1 + the command's row for its subcommands.
    func hash(salt: UInt64) -> Int {
        var mixed = low ^ (middle &* 0x9E37_79B9_7F4A_7C15) ^ (high &* 0xC2B2_AE3D_27D4_EB4F)
        mixed ^= salt &* 0x1656_67B1_9E37_79F9
        mixed &*= 0xFF51_AFD7_ED55_8CCD
        mixed ^= mixed &>> 32
        return Int(truncatingIfNeeded: mixed & 0x7FFF_FFFF)
    }
}

/// The facts of one command.
package struct CommandInfo: Sendable {
    /// Lower case; a subcommand as `client|list`, as Redis itself writes it.
    package let name: String
    package let commandClass: CommandClass
    /// True when the table has subcommands of this command.
    package fileprivate(set) var hasSubcommands = false
    /// May stand in a MULTI ... EXEC that is forwarded in one piece.
    package let mayStandInBlock: Bool
    /// May block until another event (the server's BLOCKING flag).
    package let isBlocking: Bool
    /// May write, directly or through a script (the server's WRITE and MAY_REPLICATE flags).
    package let mayWrite: Bool
    /// Only reads data, and writes nothing anywhere (the server's READONLY flag without
    /// MAY_REPLICATE).
    let isReadOnly: Bool

    /// The number of words; if negative, the least number. 0 if it is not known.
    package let arity: Int8
    /// The releases of Redis and of Valkey that it came with, as 100 * major + minor. The largest
    /// number for a product that does not have it.
    let releases: (redis: UInt16, valkey: UInt16)

    /// True for a subcommand: its second word belongs to its name.
    package let isSubcommand: Bool
    /// The name; for a subcommand, its second word.
    fileprivate let lastWord: Word
}

/// All known commands. Immutable, so that workers can share it, and never freed: the table lives as
/// long as the process, so pointers to it need no reference counting for each command.
@safe
package struct CommandTable: @unchecked Sendable {
    private struct Slot {
        var name = PackedName(packed: (0, 0, 0))
        var salt: UInt64 = 0
        var hasOnlyLetters = true
        /// `.unknown` in an unused slot.
        var command = Command.unknown
    }

    private let slots: UnsafePointer<Slot>
    private let infos: UnsafeBufferPointer<CommandInfo>
    /// Apart from `infos`: what every command reads stays together.
    private let keySpecs: UnsafeBufferPointer<KeySpec>
    /// See `hasOneKey`.
    private let oneKeyed: UnsafeBufferPointer<Bool>
    private static let slotCount = 2048

    /// Builds the table from the generated definitions.
    package init() {
        var slots = ContiguousArray(repeating: Slot(), count: CommandTable.slotCount)
        var infos: ContiguousArray<CommandInfo> = []
        var keySpecs: ContiguousArray<KeySpec> = []
        var oneKeyed: ContiguousArray<Bool> = []
        var container: (name: Substring, row: Int) = ("", 0)
        let text = CommandTable.definitions.description
        for (row, line) in text.split(separator: "\n").enumerated() {
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard fields.count == 8, let kind = CommandClass(word: fields[1]),
                let keys = KeySpec(word: fields[4])
            else {
                preconditionFailure("bad definition: \(line)")
            }
            let words = fields[0].split(separator: " ")
            var salt: UInt64 = 0
            if words.count == 2 {
                guard container.name == words[0] else {
                    preconditionFailure("a subcommand is not below its command: \(line)")
                }
                salt = UInt64(container.row) + 1
                infos[container.row].hasSubcommands = true
            } else {
                container = (words[0], row)
            }
            let name = Array(words[words.count - 1].utf8)
            let isLetters = name.allSatisfy { Word.isLetter($0) }
            CommandTable.insert(
                Slot(
                    name: PackedName(name.span, start: 0, count: name.count), salt: salt,
                    hasOnlyLetters: isLetters,
                    command: Command(rawValue: UInt16(row)) ?? .unknown),
                into: &slots)
            keySpecs.append(keys)
            let isSlotted =
                CommandTable.clusterRule(row: row) == .slot && kind == .share && words.count == 1
            oneKeyed.append(isSlotted && keys == .range(first: 1, last: 1, step: 1))
            let flags = fields[3].split(separator: ",")
            infos.append(
                CommandInfo(
                    name: words.joined(separator: "|").lowercased(), commandClass: kind,
                    mayStandInBlock: fields[2] == "ok", isBlocking: flags.contains("BLOCKING"),
                    mayWrite: flags.contains("WRITE") || flags.contains("MAY_REPLICATE"),
                    isReadOnly: flags.contains("READONLY") && !flags.contains("MAY_REPLICATE"),
                    arity: Int8(CommandTable.number(fields[5], in: -128...127) ?? 0),
                    releases: (
                        CommandTable.number(fields[6], in: 0...9_999).map { UInt16($0) } ?? .max,
                        CommandTable.number(fields[7], in: 0...9_999).map { UInt16($0) } ?? .max
                    ),
                    isSubcommand: words.count == 2, lastWord: Word(name)))
        }
        let place = UnsafeMutableBufferPointer<Slot>.allocate(capacity: slots.count)
        _ = unsafe place.initialize(from: slots)
        unsafe self.slots = UnsafePointer(place.baseAddress!)
        let infoPlace = UnsafeMutableBufferPointer<CommandInfo>.allocate(capacity: infos.count)
        _ = unsafe infoPlace.initialize(from: infos)
        unsafe self.infos = UnsafeBufferPointer(infoPlace)
        let keyPlace = UnsafeMutableBufferPointer<KeySpec>.allocate(capacity: keySpecs.count)
        _ = unsafe keyPlace.initialize(from: keySpecs)
        unsafe self.keySpecs = UnsafeBufferPointer(keyPlace)
        let onePlace = UnsafeMutableBufferPointer<Bool>.allocate(capacity: oneKeyed.count)
        _ = unsafe onePlace.initialize(from: oneKeyed)
        unsafe self.oneKeyed = UnsafeBufferPointer(onePlace)
    }

    private static func number(_ text: Substring, in range: ClosedRange<Int64>) -> Int64? {
        Word.integer(Array(text.utf8), in: range)
    }

    private static func insert(_ slot: Slot, into slots: inout ContiguousArray<Slot>) {
        var index = slot.name.hash(salt: slot.salt) & (slotCount - 1)
        while slots[index].command.rawValue != Command.unknown.rawValue {
            index = (index + 1) & (slotCount - 1)
        }
        slots[index] = slot
    }

    /// The commands by their names, as `CommandInfo.name` has them.
    package var commandsByName: [String: Command] {
        var found: [String: Command] = [:]
        for (row, info) in all.enumerated() {
            found[info.name] = Command(rawValue: UInt16(truncatingIfNeeded: row))
        }
        return found
    }

    /// Everything in the table, in the order of `Command`'s raw values.
    package var all: [CommandInfo] { unsafe Array(infos) }

    /// The facts of a command; nil for `.unknown`.
    package func info(_ command: Command) -> CommandInfo? {
        let row = Int(command.rawValue)
        return unsafe row < infos.count ? infos[row] : nil
    }

    /// Where the keys of a command are; nil for `.unknown`.
    package func keySpec(_ command: Command) -> KeySpec? {
        let row = Int(command.rawValue)
        return unsafe row < keySpecs.count ? keySpecs[row] : nil
    }

    /// Only the class, for the hot path.
    package func commandClass(_ command: Command) -> CommandClass? {
        let row = Int(command.rawValue)
        return unsafe row < infos.count ? infos[row].commandClass : nil
    }

    /// True for commands whose plan is always `.send(.plain)`, whatever their arguments. They are
    /// nearly all traffic and need no planning.
    @inline(__always)
    package func isStateless(_ command: Command) -> Bool {
        let row = Int(command.rawValue)
        guard unsafe row < infos.count, case .share = unsafe infos[row].commandClass else {
            return false
        }
        return true
    }

    /// True for a stateless command with one key, its first argument, whose slot says where it goes
    /// in front of a cluster. They are nearly all traffic there.
    @inline(__always)
    package func hasOneKey(_ command: Command) -> Bool {
        let row = Int(command.rawValue)
        return unsafe row < oneKeyed.count && oneKeyed[row]
    }

    /// True for commands that may change data, directly or through a script.
    package func mayWrite(_ command: Command) -> Bool {
        let row = Int(command.rawValue)
        return unsafe row >= infos.count || infos[row].mayWrite
    }

    /// True for commands that only read data: a replica can answer them.
    package func isReadOnly(_ command: Command) -> Bool {
        let row = Int(command.rawValue)
        return unsafe row < infos.count && infos[row].isReadOnly
    }

    /// True for such commands if another server than the one before may answer. The cursors of
    /// HSCAN, SSCAN and ZSCAN are the server's that has given them.
    package func mayGoToReplica(_ command: Command) -> Bool {
        switch command {
        case .hscan, .sscan, .zscan: false
        default: isReadOnly(command)
        }
    }

    /// Whether a command has keys, in whatever slots.
    package func hasKeys(_ command: Command, _ bytes: Span<UInt8>, _ frame: CommandFrame) -> Bool {
        if hasOneKey(command), frame.firstLength >= 0 { return true }
        switch slots(command, bytes, frame) {
        case .one, .several: return true
        case .none, .malformed: return false
        }
    }

    /// Finds the command of a frame. A container with an unknown subcommand is unknown: a newer
    /// server may have it. A subcommand is read up to its first NUL, see `isNamedExactly`; a name
    /// with a NUL is unknown.
    package func find(_ bytes: Span<UInt8>, _ frame: CommandFrame) -> Command {
        let command = look(bytes, start: frame.nameStart, count: frame.nameLength, salt: 0)
        guard frame.firstLength >= 0, hasSubcommands(command) else { return command }
        return find(
            of: command, bytes, start: frame.firstStart, count: frame.firstLength)
    }

    /// True if the name of a frame says all of what command it is.
    @inline(__always)
    func isNamedByOneWord(_ command: Command) -> Bool {
        let row = Int(command.rawValue)
        return unsafe row < infos.count && !infos[row].hasSubcommands
            && !infos[row].isSubcommand
    }

    private func hasSubcommands(_ command: Command) -> Bool {
        let row = Int(command.rawValue)
        return unsafe row < infos.count && infos[row].hasSubcommands
    }

    /// Not inlined: GET and SET do not need it.
    @inline(never)
    private func find(
        of container: Command, _ bytes: Span<UInt8>, start: Int, count: Int
    ) -> Command {
        let salt = UInt64(container.rawValue) + 1
        var length = 0
        while length < count, bytes[start &+ length] != 0 { length &+= 1 }
        return look(bytes, start: start, count: length, salt: salt)
    }

    /// Finds a command by its name, for a frame whose arguments have not all arrived.
    package func find(_ bytes: Span<UInt8>, nameStart: Int, nameLength: Int) -> Command {
        look(bytes, start: nameStart, count: nameLength, salt: 0)
    }

    /// The same if the first argument is known as well.
    package func find(
        _ bytes: Span<UInt8>, name: (start: Int, length: Int), first: (start: Int, length: Int)
    ) -> Command {
        let command = look(bytes, start: name.start, count: name.length, salt: 0)
        guard hasSubcommands(command) else { return command }
        return find(of: command, bytes, start: first.start, count: first.length)
    }

    /// The command, if its name is that word and not another one with the same folding.
    @inline(never)
    private func compared(
        _ command: Command, _ bytes: Span<UInt8>, _ start: Int, _ count: Int
    ) -> Command {
        let word = Word(bytes, start: start, count: count)
        return unsafe infos[Int(command.rawValue)].lastWord == word ? command : .unknown
    }

    private func look(_ bytes: Span<UInt8>, start: Int, count: Int, salt: UInt64) -> Command {
        guard count > 0, count <= PackedName.longest else { return .unknown }
        let name = PackedName(bytes, start: start, count: count)
        var index = name.hash(salt: salt) & (CommandTable.slotCount - 1)
        // The mask keeps the index within the table.
        while unsafe slots[index].command.rawValue != Command.unknown.rawValue {
            if unsafe slots[index].name == name, unsafe slots[index].salt == salt {
                return unsafe slots[index].hasOnlyLetters
                    ? slots[index].command
                    : compared(slots[index].command, bytes, start, count)
            }
            index = (index + 1) & (CommandTable.slotCount - 1)
        }
        return .unknown
    }
}

extension PackedName {
    fileprivate init(packed: (UInt64, UInt64, UInt64)) {
        (low, middle, high) = packed
    }
}
