// swift-tools-version: 6.2
import PackageDescription

// Every room of the house is compiled alike. None of these is an unsafe flag, so the package can be a dependency.
let house: [SwiftSetting] = [
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
]

/// A room: a folder of `Sources/`. `needs` are its only doors; ARCHITECTURE.md has the same table in words.
func room(_ name: String, needs: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: needs, swiftSettings: house)
}

/// The tests of a room, in `Tests/<Room>Tests`.
func tests(_ name: String, needs: [Target.Dependency], resources: [Resource] = []) -> Target {
    .testTarget(name: name, dependencies: needs + ["TestSupport"], resources: resources, swiftSettings: house)
}

/// A program that shows how the library is used, in `Examples/<Name>`.
func example(_ name: String, needs: [Target.Dependency] = []) -> Target {
    .executableTarget(name: name, dependencies: ["Martlet"] + needs, path: "Examples/\(name)", swiftSettings: house)
}

let package = Package(
    name: "martlet",
    products: [
        .library(name: "Martlet", targets: ["Martlet"]),
        .library(name: "MartletMainline", targets: ["MartletMainline"]),
        .library(name: "MartletStore", targets: ["MartletStore"]),
        .library(name: "MartletConfiguration", targets: ["MartletConfiguration"]),
        .library(name: "MartletSimulator", targets: ["MartletSimulator"]),
        .executable(name: "martlet", targets: ["MartletCommand"]),
    ],
    targets: [
        .systemLibrary(
            name: "CCrypto", path: "Sources/C/CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),

        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: house),

        room("MartletWire"),
        tests("MartletWireTests", needs: ["MartletWire"]),

        room("MartletCrypto", needs: ["MartletWire", "CCrypto"]),
        tests("MartletCryptoTests", needs: ["MartletCrypto", "MartletWire", "CCrypto"], resources: [.copy("Vectors")]),

        room("MartletIdentity", needs: ["MartletWire", "MartletCrypto"]),
        tests("MartletIdentityTests", needs: ["MartletIdentity", "MartletCrypto", "MartletWire"]),

        .target(name: "CLinux", path: "Sources/C/CLinux"),
        .systemLibrary(
            name: "CCares", path: "Sources/C/CCares", pkgConfig: "libcares", providers: [.apt(["libc-ares-dev"])]),
        room("MartletRuntime", needs: ["MartletWire", "CLinux", "CCares"]),
        tests("MartletRuntimeTests", needs: ["MartletRuntime", "MartletWire"]),

        .target(name: "CSimulator", path: "Sources/C/CSimulator"),
        .target(name: "CSeededRandom", path: "Sources/C/CSeededRandom"),
        room("MartletSimulator", needs: ["MartletRuntime", "MartletWire", "CSimulator"]),
        tests(
            "MartletSimulatorTests",
            needs: ["MartletSimulator", "MartletRuntime", "MartletWire", "CSeededRandom", "BusyWorld"]),
        .executableTarget(
            name: "BusyWorld", dependencies: ["MartletSimulator", "MartletRuntime", "MartletWire", "CSeededRandom"],
            path: "Tests/BusyWorld", swiftSettings: house),

        room("MartletRouting", needs: ["MartletRuntime"]),
        tests("MartletRoutingTests", needs: ["MartletRouting", "MartletRuntime"]),

        room("MartletMainline", needs: ["MartletRouting", "MartletCrypto", "MartletRuntime", "MartletWire"]),
        tests(
            "MartletMainlineTests",
            needs: [
                "MartletMainline", "MartletRouting", "MartletCrypto", "MartletRuntime", "MartletWire",
                "MartletSimulator",
                "MainlineWorlds", "CSeededRandom",
            ]),
        .target(
            name: "MainlineWorlds",
            dependencies: [
                "MartletMainline", "MartletRouting", "MartletSimulator", "MartletRuntime", "MartletWire",
            ],
            path: "Tests/MainlineWorlds", swiftSettings: house),

        .systemLibrary(
            name: "CQUIC", path: "Sources/C/CQUIC", pkgConfig: "libngtcp2_crypto_gnutls",
            providers: [.apt(["libngtcp2-dev", "libngtcp2-crypto-gnutls-dev", "libgnutls28-dev"])]),
        room("MartletTLS", needs: ["MartletCrypto", "MartletWire", "CQUIC"]),
        tests("MartletTLSTests", needs: ["MartletTLS", "MartletCrypto", "MartletWire"]),
        room(
            "MartletTransport",
            needs: ["MartletTLS", "MartletIdentity", "MartletCrypto", "MartletRuntime", "MartletWire", "CQUIC"]),

        tests(
            "MartletTransportTests",
            needs: [
                "MartletTransport", "MartletTLS", "MartletIdentity", "MartletCrypto", "MartletRuntime",
                "MartletSimulator", "MartletWire", "CSeededRandom",
            ]),

        room(
            "MartletSwarm",
            needs: [
                "MartletTransport", "MartletTLS", "MartletIdentity", "MartletCrypto", "MartletRuntime", "MartletWire",
            ]),

        tests(
            "MartletSwarmTests",
            needs: [
                "MartletSwarm", "MartletTransport", "MartletTLS", "MartletSimulator", "MartletIdentity",
                "MartletCrypto",
                "MartletRuntime", "MartletWire", "CSeededRandom",
            ]),

        .systemLibrary(
            name: "CSQLite", path: "Sources/C/CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        room("MartletStore", needs: ["MartletIdentity", "MartletRuntime", "MartletWire", "CSQLite"]),
        tests(
            "MartletStoreTests",
            needs: [
                "MartletStore", "MartletIdentity", "MartletRuntime", "MartletSimulator", "MartletWire", "CSQLite",
                "CSeededRandom", "StoreWriter",
            ]),
        .executableTarget(
            name: "StoreWriter", dependencies: ["MartletStore", "MartletIdentity", "MartletRuntime", "MartletWire"],
            path: "Tests/StoreWriter", swiftSettings: house),

        room(
            "MartletMetadata",
            needs: [
                "MartletSwarm", "MartletTransport", "MartletIdentity", "MartletCrypto", "MartletRuntime",
                "MartletWire",
            ]),

        tests(
            "MartletMetadataTests",
            needs: [
                "MartletMetadata", "MartletSwarm", "MartletTransport", "MartletSimulator", "MartletIdentity",
                "MartletCrypto", "MartletRuntime", "MartletWire", "CSeededRandom",
            ]),

        .systemLibrary(
            name: "CYAML", path: "Sources/C/CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        room("MartletConfiguration", needs: ["MartletIdentity", "MartletRuntime", "MartletWire", "CYAML"]),
        tests(
            "MartletConfigurationTests",
            needs: ["MartletConfiguration", "MartletIdentity", "MartletRuntime", "MartletWire"]),

        room("MartletMesh", needs: ["MartletRuntime", "MartletWire"]),
        tests(
            "MartletMeshTests",
            needs: ["Martlet", "MartletMesh", "MartletRuntime", "MartletSimulator", "MartletWire", "CSeededRandom"]),

        room(
            "Martlet",
            needs: [
                "MartletMesh", "MartletMainline", "MartletWire", "MartletCrypto", "MartletIdentity", "MartletRuntime",
                "MartletTransport", "MartletSwarm", "MartletMetadata", "MartletStore",
            ]),

        tests(
            "MartletTests",
            needs: [
                "Martlet", "MartletSimulator", "MartletIdentity", "MartletMetadata", "MartletRuntime", "MartletWire",
                "NodeWorlds", "CSeededRandom",
            ]),
        .target(
            name: "NodeWorlds", dependencies: ["Martlet", "MartletSimulator", "MartletTLS", "TestSupport"],
            path: "Tests/NodeWorlds", swiftSettings: house),

        .systemLibrary(
            name: "CHTTP", path: "Sources/C/CHTTP", pkgConfig: "libmicrohttpd",
            providers: [.apt(["libmicrohttpd-dev"])]),
        room(
            "MartletOperator",
            needs: [
                "Martlet", "MartletMainline", "MartletMetadata", "MartletStore", "MartletTransport", "MartletIdentity",
                "MartletCrypto", "MartletRuntime", "MartletWire", "CHTTP",
            ]),
        tests("MartletOperatorTests", needs: ["MartletOperator", "Martlet", "MartletRuntime", "MartletWire"]),

        .systemLibrary(
            name: "CEdit", path: "Sources/C/CEdit", pkgConfig: "libedit", providers: [.apt(["libedit-dev"])]),
        .target(
            name: "CProfiler", path: "Sources/C/CProfiler",
            linkerSettings: [.linkedLibrary("tcmalloc"), .linkedLibrary("profiler")]),
        .executableTarget(
            name: "MartletCommand",
            dependencies: [
                "Martlet", "MartletOperator", "MartletConfiguration", "MartletMainline", "MartletMesh",
                "MartletRuntime", "CEdit", "CProfiler",
            ],
            swiftSettings: house),
        tests(
            "MartletCommandTests",
            needs: [
                "Martlet", "MartletCommand", "MartletOperator", "MartletConfiguration", "MartletMesh", "MartletWire",
            ]),

        tests(
            "InteropTests",
            needs: [
                "Martlet", "MartletMainline", "MartletMesh", "MartletCrypto", "MartletRuntime", "MartletWire",
                "MartletCommand", "TransportTest",
            ],
            resources: [.copy("Peers"), .copy("requirements.txt")]),

        example("Frames"),
        example("Topics"),
        example("Greeter"),
        example("Neighbours"),
        example("EchoUnderLoss", needs: ["MartletSimulator", "MartletRuntime"]),

        tests(
            "SimulationTests",
            needs: [
                "MartletTransport", "MartletTLS", "MartletIdentity", "MartletCrypto", "MartletSimulator",
                "MainlineWorlds", "NodeWorlds", "Martlet", "MartletRuntime", "MartletWire", "CSeededRandom",
            ]),

        .executableTarget(
            name: "TransportTest", dependencies: ["Martlet"], path: "interop/transport",
            exclude: ["Dockerfile", "README.md"], swiftSettings: house),
        tests("TidyTests", needs: []),
    ],
    swiftLanguageModes: [.v6],
    cxxLanguageStandard: .cxx17
)
