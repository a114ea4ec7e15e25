// swift-tools-version: 6.2
import PackageDescription

// A package of its own, because a fuzz target needs unsafe flags. Scripts/fuzz builds and runs it.
let package = Package(
    name: "Fuzz",
    dependencies: [.package(name: "martlet", path: "..")],
    targets: [
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                .product(name: "Martlet", package: "martlet"), .product(name: "MartletMainline", package: "martlet"),
                .product(name: "MartletSimulator", package: "martlet"),
                .product(name: "MartletConfiguration", package: "martlet"),
            ],
            swiftSettings: [
                .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
                .enableUpcomingFeature("ExistentialAny"),
                .enableExperimentalFeature("Lifetimes"),
                // libFuzzer brings the `main` function.
                .unsafeFlags(["-parse-as-library"]),
            ])
    ],
    swiftLanguageModes: [.v6]
)
