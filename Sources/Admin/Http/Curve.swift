// A curve over the last ten minutes, as inline SVG.

import Pool

/// A curve of a pool's page.
struct Curve {
    private struct Place {
        let x: Int
        let y: Int
    }

    private let places: [Place]
    private let title: String
    private let top: String

    private static let width = 600
    private static let height = 80

    /// - Parameters:
    ///   - values: with their times, oldest first.
    ///   - top: says the largest value in words.
    init(
        _ title: String, _ values: [(at: MonotonicTime, value: Double)], now: MonotonicTime,
        top: (Double) -> String
    ) {
        self.title = title
        let most = values.map(\.value).max() ?? 0
        self.top = values.isEmpty ? "nothing yet" : most > 0 ? "at most " + top(most) : "none"
        places = values.map { point in
            let age = Double(max(0, now - point.at)) / Double(PoolHistory.span)
            let share = most > 0 ? point.value / most : 0
            return Place(
                x: Int(Double(Curve.width) * (1 - min(1, age))),
                y: Int(Double(Curve.height - 2) * (1 - share)) + 1)
        }
    }

    /// Adds the curve to a page.
    func write(to html: inout Html) {
        html.raw("<figure><figcaption>")
        html.text(title)
        html.raw(" <small>")
        html.text(top)
        html.raw("</small></figcaption>")
        html.raw(
            "<svg viewBox=\"0 0 \(Curve.width) \(Curve.height)\" preserveAspectRatio=none "
                + "role=img aria-label=\"")
        html.text("\(title), \(top)")
        html.raw("\"><polyline points=\"")
        html.raw(places.map { "\($0.x),\($0.y)" }.joined(separator: " "))
        html.raw("\"/></svg></figure>\n")
    }
}
