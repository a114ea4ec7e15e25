import MartletWire

/// Whole connections, with users on one side and an adversary on the other.
let connectionTargets: [FuzzTarget] = [
    FuzzTarget("YamuxConnection") { input in
        var reader = Reader(input.span)
        let choice = try reader.byte()
        let play = YamuxConnectionPlay(
            isClient: choice & 1 == 0, sealed: choice & 2 != 0, hasMuchMemory: choice & 4 != 0)
        while !reader.isAtEnd {
            do { try play.step(&reader) } catch { break }
        }
        play.finish()
    },

    FuzzTarget("QUICConnection") { input in
        var reader = Reader(input.span)
        let choice = try reader.byte()
        let play = QUICConnectionPlay(isClient: choice & 1 == 0)
        while !reader.isAtEnd {
            do { try play.step(&reader) } catch { break }
        }
        play.finish()
    },

    FuzzTarget("MetadataSession") { input in
        var reader = Reader(input.span)
        let play = MetadataPlay()
        while !reader.isAtEnd {
            do { try play.step(&reader) } catch { break }
        }
        play.finish()
    },
]
