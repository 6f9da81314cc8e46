// Prometheus's text format, version 0.0.4. Numbers are written from integers, so that none is
// rounded.

import Telemetry

/// A metric's type.
enum MetricType: String {
    case counter, gauge, histogram
}

/// A label and its value.
struct Label {
    let name: StaticString
    let value: String

    init(_ name: StaticString, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// Text in the making.
struct PrometheusText {
    /// The media type of the text.
    static let mediaType = "text/plain; version=0.0.4; charset=utf-8"

    private(set) var bytes: [UInt8] = []
    private var name = ""

    /// Begins a metric. Its samples follow.
    mutating func metric(_ name: String, _ type: MetricType, _ help: String) {
        self.name = name
        append("# HELP \(name) \(help)\n# TYPE \(name) \(type.rawValue)\n")
    }

    mutating func sample(_ labels: [Label], _ value: UInt64) {
        head("", labels)
        append("\(value)\n")
    }

    mutating func sample(_ labels: [Label], _ value: Int) {
        sample(labels, UInt64(max(0, value)))
    }

    mutating func sample(_ labels: [Label], _ value: Bool) { sample(labels, value ? 1 : 0) }

    /// A time in seconds, given in nanoseconds.
    mutating func seconds(_ labels: [Label], _ nanoseconds: Int64) {
        head("", labels)
        append(PrometheusText.decimal(UInt64(max(0, nanoseconds))))
        append("\n")
    }

    /// The samples of a histogram. `zeros` more times were zero.
    mutating func histogram(_ labels: [Label], _ times: LatencyHistogram, zeros: UInt64 = 0) {
        for exponent in PrometheusText.exponents {
            let bound = PrometheusText.decimal(UInt64(1) << UInt64(exponent))
            head("_bucket", labels + [Label("le", bound)])
            append("\(times.count(below: exponent) + zeros)\n")
        }
        let count = times.count + zeros
        head("_bucket", labels + [Label("le", "+Inf")])
        append("\(count)\n")
        head("_sum", labels)
        append(PrometheusText.decimal(times.sum))
        append("\n")
        head("_count", labels)
        append("\(count)\n")
    }

    /// The upper bounds of the buckets are these powers of two, in nanoseconds: ends of the
    /// histogram's own cells, so that the counts are exact.
    static let exponents = 16...33

    private mutating func head(_ suffix: StaticString, _ labels: [Label]) {
        append(name)
        append("\(suffix)")
        if !labels.isEmpty {
            append("{")
            for (index, label) in labels.enumerated() {
                append(index == 0 ? "\(label.name)=\"" : ",\(label.name)=\"")
                append(PrometheusText.escaped(label.value))
                append("\"")
            }
            append("}")
        }
        append(" ")
    }

    private mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// Nanoseconds as a decimal number of seconds, without zeros at the end.
    static func decimal(_ nanoseconds: UInt64) -> String {
        let (whole, part) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        if part == 0 { return "\(whole)" }
        let digits = "\(part)"
        var text = "\(whole)." + String(repeating: "0", count: 9 - digits.utf8.count) + digits
        while text.hasSuffix("0") { text.removeLast() }
        return text
    }

    static func escaped(_ value: String) -> String {
        guard value.utf8.contains(where: { $0 == 0x22 || $0 == 0x5C || $0 == 0x0A }) else {
            return value
        }
        var escaped = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }
}
