/// What machines and conversations may know of the world: see "Machines" in ARCHITECTURE.md.
let worldRules = [machines, clocks, sleeping, tasks, output]

/// The rooms in which every file is a machine's.
private let machineRooms: Set = ["MartletWire", "MartletCrypto", "MartletIdentity", "MartletRouting"]
/// The rooms that are the outside world's side of `Environment`.
private let worldlyRooms: Set = ["MartletRuntime", "MartletOperator", "MartletCommand"]
/// The runtime, which has the one door from a callback into a conversation, and the public edge.
private let taskRooms: Set = ["MartletRuntime", "Martlet", "MartletOperator", "MartletCommand"]

extension File {
    /// Whether the file is a machine's: by its room, or because its first doc comment calls it "a machine that …",
    /// "a machine: …" or just "a machine."
    fileprivate var isMachine: Bool {
        if machineRooms.contains(room ?? "") { return true }
        let comment = lines.drop { !$0.hasPrefix("///") }.prefix { $0.hasPrefix("///") }
        return comment.contains { $0.contains(/\b[aA] machine(?: that\b|[:.,])/) }
    }
}

private let machines = Rule(
    "a machine knows no task, no clock and no source of randomness",
    bad: [
        ["Sources/MartletWire/A.swift": "func a() async {}"],
        ["Sources/MartletCrypto/A.swift": "let key = SystemRandomNumberGenerator()"],
        ["Sources/MartletIdentity/A.swift": "let a = UInt8.random(in: 0...1)"],
        ["Sources/MartletRouting/A.swift": "let now = ContinuousClock().now"],
        [
            "Sources/MartletMainline/A.swift":
                "import Swift\n\n/// A lookup.\n/// It is a machine.\nstruct A { var a: Task<Void, Never> }"
        ],
        ["Sources/MartletNAT/A.swift": "/// A machine: the lookup of BEP 5.\nlet a = Date()"],
    ],
    good: [
        [
            "Sources/MartletWire/A.swift": "/// Never async: a Task would cost.\nlet a = \"Task\" // Date()",
            "Sources/MartletSwarm/A.swift": "/// A conversation.\nfunc a() async {}\n/// Feeds a machine.\nlet a = 1",
            "Sources/MartletRuntime/A.swift": "/// This machine's network, or a machine in a world.\nfunc a() async {}",
            "Sources/MartletCrypto/A.swift": "func key(using generator: inout some RandomNumberGenerator) {}",
        ]
    ]
) { tree in
    tree.swift("Sources/").filter(\.isMachine).flatMap { file in
        file.violations(
            of: /\bTask\b|\basync\b|\bawait\b|\bContinuousClock\b|\bSystemRandomNumberGenerator\b|\.random\(|\bDate\(/,
            in: file.code, "this is a machine's file")
    }
}

private let clocks = Rule(
    "time and randomness reach a room only through Environment",
    bad: [
        ["Sources/MartletSwarm/A.swift": "let now = ContinuousClock().now"],
        ["Sources/MartletSwarm/A.swift": "let now = SuspendingClock.now"],
        ["Sources/Martlet/A.swift": "var generator = SystemRandomNumberGenerator()"],
        ["Sources/MartletMesh/A.swift": "let a = list.randomElement()"],
        ["Sources/MartletMesh/A.swift": "list.shuffle()"],
    ],
    good: [
        [
            "Sources/MartletRuntime/A.swift": "let now = ContinuousClock().now",
            "Sources/MartletSwarm/A.swift": "let a = list.randomElement(using: &generator)\nlet random = 1",
        ]
    ]
) { tree in
    tree.swift("Sources/").filter { !worldlyRooms.contains($0.room ?? "") }.flatMap { file in
        file.violations(
            of:
                /\b(?:Continuous|Suspending)Clock\b|\bSystemRandomNumberGenerator\b|\.randomElement\(\)|\.shuffled?\(\)|\bDate\(/,
            in: file.code, "ask Environment")
    }
}

private let sleeping = Rule(
    "Task.sleep stands nowhere in Sources", in: ["Sources/"], at: "Sources/MartletRuntime/Sample.swift",
    bad: ["try await Task.sleep(for: .seconds(1))", "Task<Never, Never>.sleep(1)"],
    good: ["// Task.sleep knows no virtual time.\nloop.sleep(until: now)"]
) { file in
    file.violations(of: /\bTask(?:<[^>]*>)?\.sleep\b/, in: file.code, "the loop's timers know virtual time")
}

private let tasks = Rule(
    "tasks are made by the runtime and at the public edge alone",
    bad: [
        ["Sources/MartletSwarm/A.swift": "Task { a() }"],
        ["Sources/MartletSimulator/A.swift": "let a = Task(priority: .high) {}"],
        ["Sources/MartletMesh/A.swift": "Task.detached { a() }"],
    ],
    good: [
        [
            "Sources/MartletRuntime/A.swift": "Task(executorPreference: a) {}", "Sources/Martlet/A.swift": "Task {}",
            "Sources/MartletSwarm/A.swift":
                "loop.spawn { a() }\nlet b: MartletTask = MartletTask(1)\nif Task.isCancelled {}",
        ]
    ]
) { tree in
    tree.swift("Sources/").filter { !taskRooms.contains($0.room ?? "") }.flatMap { file in
        file.violations(
            of: /\bTask\s*(?:\{|\()|\bTask\.detached\b/, in: file.code, "go through the loop's door, loop.spawn")
    }
}

private let output = Rule(
    "the program writes to standard output and standard error in one place", in: ["Sources/MartletCommand/"],
    at: "Sources/MartletCommand/Sample.swift",
    bad: ["print(line)", "FileHandle.standardOutput.write(data)", "FileHandle.standardError.write(data)"],
    good: ["try StandardOutput.line(text)", "ced_print(line)", "// print(line)"]
) { file in
    guard file.path != "Sources/MartletCommand/StandardOutput.swift" else { return [] }
    return file.violations(
        of: /\bprint\(|\.standardOutput|\.standardError/, in: file.code,
        "use StandardOutput or StandardError, which survive a full disk and a closed pipe")
}
