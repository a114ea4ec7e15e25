import MartletRuntime
import MartletWire
import Testing

@testable import Martlet

@Suite("The health of the DHT")
struct HealthOfDHTTests {
    private func family(_ state: JoinState, unanswered: Duration? = nil) -> NodeStatus.DHT {
        NodeStatus.DHT(family: .v4, state: state, unanswered: unanswered, nodes: 40, outsideAddress: nil)
    }

    @Test("says how long nobody has answered, and not that nobody ever has")
    func outage() {
        let away = HealthCheck(ofDHT: [family(.unreachable(retryAt: .start), unanswered: .seconds(750))])
        #expect(!away.isOK && away.detail == "no answers for 12 min")
        // That it joined before is not said while nobody answers.
        let sudden = HealthCheck(ofDHT: [family(.joined, unanswered: .seconds(15))])
        #expect(!sudden.isOK && sudden.detail == "no answers for 15 s")
        let half = HealthCheck(ofDHT: [family(.joined), family(.joining, unanswered: .seconds(500))])
        #expect(half.isOK && half.detail == "joined, with 80 nodes")
        #expect(HealthCheck(ofDHT: [family(.joining)]).detail == "joining")
        let new = HealthCheck(ofDHT: [family(.unreachable(retryAt: .start))])
        #expect(!new.isOK && new.detail == "nobody in the DHT has answered yet")
    }
}
