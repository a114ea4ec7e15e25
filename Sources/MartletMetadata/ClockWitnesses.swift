internal import MartletIdentity
internal import MartletRuntime

/// What neighbours' clocks show beside this node's own: a machine that says when most of them disagree with it.
///
/// A neighbour's own record, which it tells itself, was made in the last half hour by its clock. One whose date this node
/// would refuse shows that one of the two clocks is wrong; if most neighbours show it, it is this node's.
struct ClockWitnesses {
    /// The two dates that do not go together.
    struct Dispute: Hashable {
        var own: WallTime
        var theirs: WallTime
    }

    private let limits: MetadataBook.Limits
    /// What each neighbour's clock showed when this machine was started. So it stays true when this node's own clock is set.
    private var bases: [PeerID: WallTime] = [:]

    init(_ limits: MetadataBook.Limits) {
        self.limits = limits
    }

    var count: Int { bases.count }

    /// `peer` has signed a record that it says it made at `time`, which may be anything that can be written.
    mutating func heard(_ time: WallTime, from peer: PeerID, at moment: Moment) {
        bases[peer] = time - (moment.boot - .start)
    }

    /// `peer` is no neighbour any more.
    mutating func forget(_ peer: PeerID) {
        bases[peer] = nil
    }

    /// What this node's clock shows and what most neighbours' do, if they disagree.
    func dispute(at moment: Moment) -> Dispute? {
        let passed = moment.boot - .start
        let own = moment.wall - passed
        let disagreeing = bases.values.filter { base in
            base - own > limits.skew || own - base > limits.lifetime
        }.sorted()
        guard disagreeing.count * 2 > bases.count else { return nil }
        return Dispute(own: moment.wall, theirs: disagreeing[disagreeing.count / 2] + passed)
    }
}
