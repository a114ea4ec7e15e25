import Martlet

/// The plain-text mesh, fed by strangers.
let meshTargets: [FuzzTarget] = [
    FuzzTarget("Mesh") { input in
        var exercise = MeshExercise()
        exercise.take(input)
    },

    FuzzTarget("MeshAddress") { input in
        guard let address = input.utf8.flatMap({ MeshAddress($0) }) else { return }
        expect(MeshAddress(address.description) == address, "an address is read as it is written")
    },
]
