import MartletRuntime
@testable import MartletTransport
import MartletWire
import Testing

@Suite("The door of QUIC")
struct QUICDoorTests {
    /// The id under which dialer `number` knocks.
    private func id(_ number: Int) -> ConnectionID {
        ConnectionID(Bytes([0x90, UInt8(number >> 8 & 0xFF), UInt8(number & 0xFF), 0]).span)!
    }

    private func stranger(_ number: Int, isProven: Bool = false) -> QUICNewcomer {
        QUICNewcomer(IPAddress(v4: 0x0A00_0000 | UInt32(number)), isProven: isProven)
    }

    @Test(
        "handshakes that end at once, from ever new addresses, are begun at a bounded rate; then a proof is asked for")
    func handshakes() {
        var limits = QUICLimits()
        limits.handshakesPerSecondBeforeRetry = 20
        var door = QUICDoor(limits)
        var begun = 0
        for number in 0..<10_000 {
            let newcomer = stranger(number)
            if door.mustProve(newcomer, by: id(number), at: .start + .milliseconds(number)) { continue }
            begun += 1
            door.began(newcomer)
            door.finished(newcomer)
        }
        // Ten seconds of them, and what was saved up before.
        #expect(begun >= 200 && begun <= 221)
        #expect(door.halfOpen == 0)
        var own = QUICDoor(limits)
        let here = QUICNewcomer(.loopbackV4, isProven: false)
        let asked = (0..<100).count { own.mustProve(here, by: id($0), at: .start) }
        #expect(asked == 0)
    }

    @Test("a proven address has as many unfinished connections as it may, whatever bears it without proof, and no more")
    func addresses() {
        let limits = QUICLimits()
        var door = QUICDoor(limits)
        let victim = stranger(1)
        while !door.mustProve(victim, by: id(1), at: .start) { door.began(victim) }
        #expect(door.halfOpen == limits.halfOpenPerAddressBeforeRetry)
        let proven = stranger(1, isProven: true)
        let isAsked = door.mustProve(proven, by: id(2), at: .start)
        #expect(!isAsked)
        while door.refusal(of: proven) == nil { door.began(proven) }
        #expect(door.halfOpen == limits.halfOpenPerAddressBeforeRetry + limits.halfOpenPerAddress)
        #expect(door.refusal(of: proven) == .halfOpenPerAddress)
        #expect(door.refusal(of: stranger(2, isProven: true)) == nil)
        door.finished(proven)
        #expect(door.refusal(of: proven) == nil)
    }

    @Test(
        "when many are unfinished everyone proves an address, and beyond the bound the proven ones are refused as well")
    func all() {
        let limits = QUICLimits()
        var door = QUICDoor(limits)
        for number in 0..<limits.halfOpenBeforeRetry {
            let isAsked = door.mustProve(stranger(number), by: id(number), at: .start)
            #expect(!isAsked)
            door.began(stranger(number))
        }
        let isAsked = door.mustProve(stranger(1000), by: id(1000), at: .start)
        #expect(isAsked)
        for number in limits.halfOpenBeforeRetry..<limits.halfOpen {
            #expect(door.refusal(of: stranger(number, isProven: true)) == nil)
            door.began(stranger(number, isProven: true))
        }
        #expect(door.refusal(of: stranger(1000, isProven: true)) == .halfOpen)
        #expect(door.halfOpen == limits.halfOpen)
    }

    @Test("Retry has a rate of its own, which other answers do not use up")
    func answers() {
        var limits = QUICLimits()
        limits.strayAnswersPerSecond = 10
        limits.retriesPerSecond = 20
        var door = QUICDoor(limits)
        let answers = (0..<100).count { _ in door.allowsAnswer(at: .start) }
        let retries = (0..<100).count { _ in door.allowsRetry(at: .start) }
        #expect(answers == 10)
        #expect(retries == 20)
    }

    @Test("what comes under the id of a dialer that was asked for a proof begins nothing, and few ids are remembered")
    func asked() {
        var limits = QUICLimits()
        limits.rememberedRetries = 16
        var door = QUICDoor(limits)
        for number in 0..<1000 {
            door.askedForProof(id(number))
            #expect(door.rememberedRetries <= 2 * limits.rememberedRetries)
        }
        for number in 984..<1000 {
            let isAsked = door.mustProve(stranger(number), by: id(number), at: .start)
            #expect(isAsked)
        }
        let isAsked = door.mustProve(stranger(1), by: id(1), at: .start)
        #expect(!isAsked)
        let isProvenAsked = door.mustProve(stranger(999, isProven: true), by: id(999), at: .start)
        #expect(!isProvenAsked)
    }
}
