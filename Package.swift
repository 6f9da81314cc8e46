// swift-tools-version: 6.2
import PackageDescription

// Layers, lowest first. scripts/check-layers checks that imports only point down
// (docs/architecture.md).

let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// The targets of the program. They cannot use what the module for regular expressions adds to
/// strings: one call of `replacing` would link all of that module, 1.3 MB. In a release build the
/// linker drops what is never called: each function has a section of its own, and that other
/// targets might use it is no reason to keep it.
let program: [SwiftSetting] =
    strict + [
        .unsafeFlags(["-Xfrontend", "-disable-implicit-string-processing-module-import"]),
        .unsafeFlags(
            ["-function-sections", "-internalize-at-link"].flatMap { ["-Xfrontend", $0] },
            .when(configuration: .release)),
    ]

/// Targets in which every unsafe operation must be marked `unsafe`. Of these, only Config does I/O:
/// it reads the configuration file and the password files.
let pure: [SwiftSetting] = program + [.strictMemorySafety()]

/// Targets that hold connection state in classes. Dynamic exclusivity checks cost more than the
/// pool itself there, so release builds omit them; debug builds and tests keep them. That is safe
/// because no mutating method of a core calls out: cores return actions.
let shell: [SwiftSetting] =
    program + [
        .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))
    ]

/// For targets whose code runs at the start, or when an operator asks for something: small code is
/// better there than fast code.
let small: [SwiftSetting] = [.unsafeFlags(["-Osize"], .when(configuration: .release))]

/// Release builds link the C++ runtime, which the Swift runtime needs, from its archive: as a
/// shared library it takes a megabyte more memory (scripts/link/libstdc++.so). The 28,000
/// relocations are packed (glibc 2.36, Debian 12): every start reads them, and unpacked they are
/// 0.7 MB. All symbols are bound at the start, and the pages written for that become read-only. The
/// toolchain would export every symbol, and so keep it: the table of 0.4 MB is read at each start,
/// but nothing uses it. Of the toolchain's linkers, lld can do all of this.
let linkDirectory = "\(Context.packageDirectory)/scripts/link"
let linkerWords = ["-z", "pack-relative-relocs", "-z", "now", "--no-export-dynamic"]
let leanLinking: [LinkerSetting] = [
    .unsafeFlags(
        ["-L\(linkDirectory)", "-Xclang-linker", "-static-libgcc", "-use-ld=lld"]
            + linkerWords.flatMap { ["-Xlinker", $0] },
        .when(configuration: .release))
]

let package = Package(
    name: "redpool",
    products: [.executable(name: "redpool", targets: ["redpool"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2")
    ],
    targets: [
        .systemLibrary(
            name: "CLibevent", pkgConfig: "libevent_core",
            providers: [.apt(["libevent-dev"])]),
        .systemLibrary(
            name: "CYaml", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .target(name: "CBuild"),
        .systemLibrary(
            name: "CTLS", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .target(name: "RESP", swiftSettings: pure),
        .target(name: "Pool", swiftSettings: pure),
        .target(
            name: "Config", dependencies: ["CYaml", "CTLS", "Pool"], swiftSettings: pure + small),
        .target(
            name: "Telemetry", dependencies: [.product(name: "Logging", package: "swift-log")],
            swiftSettings: program + small),
        .target(
            name: "Session", dependencies: ["RESP", "Pool"], exclude: ["Commands/commands.tsv"],
            swiftSettings: pure),
        .target(name: "Topology", dependencies: ["RESP", "Pool"], swiftSettings: pure),
        .target(
            name: "HandOver", dependencies: ["Pool", "Session"], swiftSettings: pure + small),
        .target(name: "CExec"),
        .target(
            name: "EventLoop", dependencies: ["CLibevent", "CTLS", "CExec"],
            swiftSettings: shell),
        .target(
            name: "Proxy",
            dependencies: [
                "RESP", "Pool", "Config", "Telemetry", "Session", "Topology", "HandOver",
                "EventLoop",
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: shell),
        .target(
            name: "Admin",
            dependencies: [
                "Proxy", "Config", "Telemetry", "EventLoop", "RESP", "Pool",
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: shell + small),
        .executableTarget(
            name: "redpool",
            dependencies: [
                "Admin", "Proxy", "Config", "Telemetry", "EventLoop", "HandOver", "Session",
                "Topology", "RESP", "Pool", "CBuild",
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: shell + small, linkerSettings: leanLinking),
        .target(
            name: "TestSupport", dependencies: ["EventLoop", "TestCertificates"],
            path: "Tests/TestSupport",
            swiftSettings: strict),
        .target(
            name: "TestCertificates", dependencies: ["CTLS"], path: "Tests/TestCertificates"),
        .testTarget(name: "RESPTests", dependencies: ["RESP"], swiftSettings: strict),
        .testTarget(name: "PoolTests", dependencies: ["Pool"], swiftSettings: strict),
        .testTarget(name: "ConfigTests", dependencies: ["Config"], swiftSettings: strict),
        .testTarget(name: "TelemetryTests", dependencies: ["Telemetry"], swiftSettings: strict),
        .testTarget(
            name: "SessionTests", dependencies: ["Session", "RESP", "Pool", "TestSupport"],
            exclude: ["keys.tsv", "slots.tsv"], swiftSettings: strict),
        .testTarget(
            name: "TopologyTests", dependencies: ["Topology", "RESP", "Pool", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "HandOverTests", dependencies: ["HandOver", "Session", "Pool", "TestSupport"],
            exclude: ["Files"], swiftSettings: strict),
        .testTarget(
            name: "ProxyTests",
            dependencies: [
                "Proxy", "RESP", "Pool", "Config", "Session", "Topology", "EventLoop", "Telemetry",
                "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ], swiftSettings: strict),
        .testTarget(
            name: "AdminTests",
            dependencies: [
                "Admin", "Proxy", "Config", "Telemetry", "EventLoop", "RESP", "Pool", "Topology",
                "HandOver", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ], exclude: ["metrics.txt"], swiftSettings: strict),
        .testTarget(
            name: "EventLoopTests",
            dependencies: ["EventLoop", "CLibevent", "CTLS", "TestSupport", "TestCertificates"],
            swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)
