// The HTTP endpoints: metrics, health, readiness, and the page for people.

package import EventLoop
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
                writing.append(Writing(snapshot, request, self))
                writing.last?.goOn()
            }
        case "/healthz":
            if center.areWorkersTurning {
                request.answer(200, "OK", Array("ok\n".utf8))
            } else {
                request.answer(503, "Service Unavailable", Array("a worker hangs\n".utf8))
            }
        case "/readyz":
            center.refresh { snapshot in
                HttpFront.answer(request, Readiness(snapshot, pool: request.parameter("pool")))
            }
        case "/", "":
            center.refresh { [unowned self] snapshot in
                var page = StatusPage(
                    snapshot, histories: center.histories(of: snapshot), wall: wallClock())
                request.answer(
                    200, "OK", type: StatusPage.mediaType,
                    headers: [
                        (
                            "Content-Security-Policy",
                            "default-src 'none'; style-src 'unsafe-inline'"
                        )
                    ], page.written())
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

    /// An answer to /metrics in progress. The main thread may accept clients meanwhile.
    private final class Writing {
        private var metrics: PrometheusMetrics
        private let request: HTTPRequest
        private unowned let front: HttpFront
        private var timer: Timer?

        /// It writes for at most this long at a time, in nanoseconds.
        private static let slice: Int64 = 5_000_000

        init(_ snapshot: Snapshot, _ request: HTTPRequest, _ front: HttpFront) {
            metrics = PrometheusMetrics(snapshot)
            self.request = request
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
            while metrics.result == nil {
                if EventLoop.now() >= end {
                    timer?.start(after: 0)
                    return
                }
                metrics.write()
            }
            request.answer(200, "OK", type: PrometheusText.mediaType, metrics.result ?? [])
            front.writing.removeAll { $0 === self }
        }
    }
}
