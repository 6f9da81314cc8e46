// Builds a tree from libyaml's events. No other file uses libyaml.

internal import CYaml

/// Reads one text. Call `compose` once. The value owns the pointers from `init` to `deinit`;
/// nothing of libyaml leaves it.
@safe struct Composer: ~Copyable {
    /// The problems found, in the order of the text.
    private(set) var problems: [Diagnostic] = []

    /// Deeper than any configuration. The stack has room for a hundred times as many.
    private static let depthLimit = 64

    private let parser: UnsafeMutablePointer<yaml_parser_t>
    private let event: UnsafeMutablePointer<yaml_event_t>
    private let text: [UInt8]
    private let lines: TextLines

    /// Parsing cannot continue. The problem has been reported.
    private struct Stop: Error {}

    init(_ text: String) {
        self.text = Array(text.utf8)
        lines = TextLines(text)
        unsafe parser = .allocate(capacity: 1)
        unsafe event = .allocate(capacity: 1)
        unsafe parser.initialize(to: yaml_parser_t())
        unsafe event.initialize(to: yaml_event_t())
    }

    deinit {
        unsafe parser.deallocate()
        unsafe event.deallocate()
    }

    /// The tree of the text's only document; nil if the text is empty or has problems.
    mutating func compose() -> Tree? {
        guard unsafe yaml_parser_initialize(parser) == 1 else {
            report(Position(line: 1, column: 1), "not enough memory to read the file")
            return nil
        }
        defer { unsafe yaml_parser_delete(parser) }
        let bytes = text
        return unsafe bytes.withUnsafeBufferPointer { buffer in
            unsafe yaml_parser_set_input_string(parser, buffer.baseAddress, buffer.count)
            unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
            do { return try document() } catch { return nil }
        }
    }

    /// Stream start, one document or none, stream end.
    private mutating func document() throws(Stop) -> Tree? {
        try next()
        unsafe yaml_event_delete(event)
        guard try next() == YAML_DOCUMENT_START_EVENT else {
            unsafe yaml_event_delete(event)
            return nil
        }
        unsafe yaml_event_delete(event)
        try next()
        let tree = try node(depth: 0)
        try next()
        unsafe yaml_event_delete(event)
        let after = try next()
        let position = self.position
        unsafe yaml_event_delete(event)
        if after != YAML_STREAM_END_EVENT {
            report(position, "the file has a second document; only one is allowed")
        }
        return tree
    }

    /// The node that begins with the current event. Consumes the event.
    private mutating func node(depth: Int) throws(Stop) -> Tree {
        let position = self.position
        let type = unsafe event.pointee.type
        if type == YAML_SCALAR_EVENT {
            defer { unsafe yaml_event_delete(event) }
            return unsafe scalar(event.pointee.data.scalar, position)
        }
        unsafe yaml_event_delete(event)
        guard depth < Composer.depthLimit else {
            report(position, "more than \(Composer.depthLimit) levels of nesting")
            throw Stop()
        }
        if type == YAML_SEQUENCE_START_EVENT {
            return .sequence(try sequence(depth: depth), position)
        }
        if type == YAML_MAPPING_START_EVENT {
            return .mapping(try mapping(depth: depth), position)
        }
        report(position, "aliases (*) are not supported")
        throw Stop()
    }

    private func scalar(
        _ scalar: yaml_event_t.__Unnamed_union_data.__Unnamed_struct_scalar, _ position: Position
    ) -> Tree {
        let bytes = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
        let text = unsafe String(decoding: bytes, as: UTF8.self)
        let isQuoted = unsafe scalar.style != YAML_PLAIN_SCALAR_STYLE
        return .scalar(text, isQuoted: isQuoted, position)
    }

    private mutating func sequence(depth: Int) throws(Stop) -> [Tree] {
        var items: [Tree] = []
        while try next() != YAML_SEQUENCE_END_EVENT {
            items.append(try node(depth: depth + 1))
        }
        unsafe yaml_event_delete(event)
        return items
    }

    private mutating func mapping(depth: Int) throws(Stop) -> [Tree.Entry] {
        var entries: [Tree.Entry] = []
        var places: [String: Position] = [:]
        while try next() != YAML_MAPPING_END_EVENT {
            let key = try node(depth: depth + 1)
            try next()
            let value = try node(depth: depth + 1)
            guard case .scalar(let name, _, let position) = key else {
                report(key.position, "a key has to be plain text")
                continue
            }
            if let first = places[name] {
                let place =
                    first.line == position.line ? "column \(first.column)" : "line \(first.line)"
                report(position, "\(shown(name)) appears twice (first at \(place))")
                continue
            }
            places[name] = position
            entries.append(Tree.Entry(key: name, position: position, value: value))
        }
        unsafe yaml_event_delete(event)
        return entries
    }

    /// Reads the next event. The caller must delete it.
    @discardableResult
    private mutating func next() throws(Stop) -> yaml_event_type_t {
        guard unsafe yaml_parser_parse(parser, event) == 1 else {
            reportParser()
            throw Stop()
        }
        return unsafe event.pointee.type
    }

    /// Where the current event begins. If the last line has no line break and an absent value,
    /// libyaml reports that value on the line after it.
    private var position: Position {
        unsafe Composer.place(event.pointee.start_mark, lines)
    }

    private static func place(_ mark: yaml_mark_t, _ lines: TextLines) -> Position {
        lines.clamped(
            Position(
                line: Int(truncatingIfNeeded: mark.line) &+ 1,
                column: Int(truncatingIfNeeded: mark.column) &+ 1))
    }

    private mutating func reportParser() {
        let state = unsafe parser.pointee
        let words = unsafe state.problem.map { unsafe String(cString: $0) } ?? "not readable"
        switch unsafe state.error {
        case YAML_SCANNER_ERROR, YAML_PARSER_ERROR:
            let position = unsafe Composer.place(state.problem_mark, lines)
            guard let context = unsafe state.context.map({ unsafe String(cString: $0) }) else {
                return report(position, words + lines.hint(at: position, began: nil))
            }
            let began = unsafe Composer.place(state.context_mark, lines)
            let origin = began == position ? "" : " \(context) that began at \(began)"
            report(position, words + origin + lines.hint(at: position, began: began))
        case YAML_READER_ERROR:
            report(lines.firstUnreadable, words)
        default:
            report(Position(line: 1, column: 1), "the file cannot be read as YAML: \(words)")
        }
    }

    private mutating func report(_ position: Position, _ message: String) {
        problems.append(
            Diagnostic(line: position.line, column: position.column, path: "", message: message))
    }
}
