// The HTTP endpoints: metrics, health, readiness, and the page for people.

package import EventLoop
import Proxy
import Telemetry

/// Answers HTTP requests on the loop of the main thread.
package final class HttpFront {
    private let loop: EventLoop
    private let center: MetricsCenter
    private var server: HTTPServer?
    private var writing: [Writing] = []

    /// Takes over sockets that listen. Nil if there is no memory.
    package init?(loop: EventLoop, sockets: [Int32], center: MetricsCenter) {
        self.loop = loop
        self.center = center
        server = HTTPServer(loop: loop, sockets: sockets) { [unowned self] in answer($0) }
        if server == nil { return nil }
    }

    private func answer(_ request: HTTPRequest) {
        switch request.path {
        case "/metrics":
            center.refresh { [unowned self] snapshot in
                begin(request, PrometheusMetrics(snapshot), type: PrometheusText.mediaType)
            }
        case "/healthz":
            let stuck = center.stuckWorkers
            if stuck.isEmpty {
                request.answer(200, "OK", Array("ok\n".utf8))
            } else {
                let text = "hanging: \(WorkerGroup.names(of: stuck))\n"
                request.answer(503, "Service Unavailable", Array(text.utf8))
            }
        case "/readyz":
            center.refresh { snapshot in
                HttpFront.answer(request, Readiness(snapshot, pool: request.parameter("pool")))
            }
        case "/", "":
            center.refresh { [unowned self] snapshot in
                let histories = center.histories(of: snapshot)
                begin(
                    request, StatusPage(snapshot, histories: histories, wall: wallClock()),
                    type: StatusPage.mediaType,
                    headers: [("Content-Security-Policy", StatusPage.policy)])
            }
        default:
            request.answer(
                404, "Not Found", Array("there is /, /metrics, /healthz and /readyz\n".utf8))
        }
    }

    private static func answer(_ request: HTTPRequest, _ readiness: Readiness) {
        switch readiness {
        case .ready: request.answer(200, "OK", Array("ready\n".utf8))
        case .not(let reasons):
            let text = reasons.map { $0 + "\n" }.joined()
            request.answer(503, "Service Unavailable", Array(text.utf8))
        case .unknownPool: request.answer(404, "Not Found", Array("no such pool\n".utf8))
        }
    }

    private func begin(
        _ request: HTTPRequest, _ text: any WrittenInParts, type: String,
        headers: [(String, String)] = []
    ) {
        let answer = Writing(text, self) { bytes in
            request.answer(200, "OK", type: type, headers: headers, bytes)
        }
        writing.append(answer)
        answer.goOn()
    }

    /// An answer in progress. The main thread may accept clients meanwhile.
    private final class Writing {
        private var text: any WrittenInParts
        private let answer: ([UInt8]) -> Void
        private unowned let front: HttpFront
        private var timer: Timer?

        /// It writes for at most this long at a time, in nanoseconds.
        private static let slice: Int64 = 5_000_000

        init(
            _ text: any WrittenInParts, _ front: HttpFront, _ answer: @escaping ([UInt8]) -> Void
        ) {
            self.text = text
            self.answer = answer
            self.front = front
            timer = Timer(
                loop: front.loop, owner: Unmanaged.passUnretained(self).toOpaque(),
                callback: { _, _, owner in
                    guard let owner else { return }
                    Unmanaged<Writing>.fromOpaque(owner).takeUnretainedValue().goOn()
                })
        }

        func goOn() {
            let end = EventLoop.now() + Writing.slice
            while true {
                if let bytes = text.result {
                    answer(bytes)
                    break
                }
                if EventLoop.now() >= end {
                    timer?.start(after: 0)
                    return
                }
                text.write()
            }
            front.writing.removeAll { $0 === self }
        }
    }
}

/// A text that is written a part at a time.
protocol WrittenInParts {
    /// Nil until everything is written.
    var result: [UInt8]? { get }
    /// Writes the next part.
    mutating func write()
}

extension PrometheusMetrics: WrittenInParts {}
extension StatusPage: WrittenInParts {}
