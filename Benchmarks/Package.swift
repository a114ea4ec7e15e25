// swift-tools-version: 6.2
import PackageDescription

// A package of its own: its C target stands in for the allocator, and it may use flags that a library may not.
let house: [SwiftSetting] = [
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
    name: "Benchmarks",
    dependencies: [.package(name: "martlet", path: "..")],
    targets: [
        .target(name: "CProbe"),
        .target(name: "CYardsticks"),
        .target(name: "BenchmarkHarness", dependencies: ["CProbe"], swiftSettings: house),
        .executableTarget(
            name: "MeshBenchmarks", dependencies: [.product(name: "Martlet", package: "martlet")],
            swiftSettings: house),
        .executableTarget(
            name: "SwarmBenchmarks", dependencies: [.product(name: "Martlet", package: "martlet")],
            swiftSettings: house),
        .executableTarget(
            name: "NodeBenchmarks", dependencies: [.product(name: "Martlet", package: "martlet")],
            swiftSettings: house),
        .executableTarget(
            name: "MainlineServer", dependencies: [.product(name: "MartletMainline", package: "martlet")],
            swiftSettings: house),
        .executableTarget(
            name: "MainlineBenchmarks",
            dependencies: [
                "CYardsticks", .product(name: "Martlet", package: "martlet"),
                .product(name: "MartletMainline", package: "martlet"),
            ],
            exclude: ["libtorrent_node.py"], swiftSettings: house),
        .executableTarget(
            name: "Benchmarks",
            dependencies: [
                "BenchmarkHarness", "CYardsticks", .product(name: "Martlet", package: "martlet"),
                .product(name: "MartletMainline", package: "martlet"),
                .product(name: "MartletSimulator", package: "martlet"),
                .product(name: "MartletStore", package: "martlet"),
            ],
            swiftSettings: house,
            // Valgrind 3.19 gives up on the debug information that this compiler writes.
            linkerSettings: [.unsafeFlags(["-Xlinker", "--strip-debug"])]),
    ],
    swiftLanguageModes: [.v6]
)
