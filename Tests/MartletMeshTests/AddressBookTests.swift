import MartletRuntime
import MartletWire
import TestSupport
import Testing

@testable import MartletMesh

@Suite("Address book")
struct AddressBookTests {
    private let teller = IPAddress(192, 168, 1, 9)

    private func address(_ number: Int) -> MeshAddress {
        .ip(SocketAddress(IPAddress(10, 0, UInt8(number >> 8), UInt8(number & 255)), port: 8001))
    }

    /// Dials all that is due at `now` and lets it fail. Returns how many that were.
    private func failAll(_ book: inout AddressBook, at now: Instant) -> Int {
        var count = 0
        while let next = book.due(at: now) {
            count += 1
            book.began(next, count, at: now)
            _ = book.failed(next, count, spread: 0.5, at: now)
        }
        return count
    }

    @Test("false addresses are tried a few at first, then one a second, and are forgotten")
    func falseAddresses() {
        var book = AddressBook(capacity: 256)
        var taken = 0
        for number in 0..<10_000 {
            let isNew = book.add(address(number), .told(by: teller, isForeign: false), rank: UInt64(number), at: .start)
            if isNew { taken += 1 }
        }
        #expect(taken == AddressBook.mostToldByHost)
        let first = failAll(&book, at: .start)
        #expect(first == AddressBook.fullCredit)
        var dialled = 0
        for second in 1...60 { dialled += failAll(&book, at: .start + .seconds(second)) }
        #expect(dialled == 60)
        var end = Instant.start + .seconds(60)
        while book.count > 0, end < .start + .seconds(3600) {
            end += .seconds(1)
            dialled += failAll(&book, at: end)
        }
        #expect(book.count == 0)
        #expect(dialled + AddressBook.fullCredit == 4 * AddressBook.mostToldByHost)
    }

    @Test("true addresses are all dialled at once")
    func trueAddresses() {
        var book = AddressBook(capacity: 256)
        for number in 0..<100 {
            _ = book.add(address(number), .told(by: teller, isForeign: false), rank: UInt64(number), at: .start)
        }
        var count = 0
        while let next = book.due(at: .start) {
            count += 1
            book.began(next, count, at: .start)
            book.answered(next)
            book.connected(next, count)
        }
        #expect(count == 100)
    }

    @Test("addresses in a network that their teller is not in are tried two at first, then one in eight seconds")
    func foreignAddresses() {
        var book = AddressBook(capacity: 256)
        for number in 0..<100 {
            _ = book.add(
                address(number), .told(by: IPAddress(203, 0, 113, 1), isForeign: true), rank: UInt64(number), at: .start
            )
        }
        let first = failAll(&book, at: .start)
        #expect(first == 2)
        var dialled = 0
        for second in 1...80 { dialled += failAll(&book, at: .start + .seconds(second)) }
        #expect(dialled == 10)
    }

    @Test("one host's word leaves room for that of others")
    func severalTellers() {
        var book = AddressBook(capacity: 1000)
        for number in 0..<1000 {
            _ = book.add(address(number), .told(by: teller, isForeign: false), rank: 0, at: .start)
        }
        _ = failAll(&book, at: .start)
        let other = IPAddress(192, 168, 1, 10)
        let isNew = book.add(address(2000), .told(by: other, isForeign: false), rank: 0, at: .start)
        #expect(isNew)
        #expect(book.due(at: .start) == address(2000))
    }

    @Test("a wait doubles with each failure, and what a person has given is tried for ever")
    func waits() {
        var book = AddressBook(capacity: 16)
        _ = book.add(address(1), .given(isBootstrap: true), rank: 0, at: .start)
        var now = Instant.start
        var waits: [Duration] = []
        for number in 1...50 {
            #expect(book.due(at: now) == address(1))
            book.began(address(1), number, at: now)
            let times = book.failed(address(1), number, spread: 0.5, at: now)
            #expect(times == number)
            waits.append(book.nextDue - now)
            now = book.nextDue
        }
        #expect(waits.prefix(6) == [.seconds(1), .seconds(2), .seconds(4), .seconds(8), .seconds(15), .seconds(15)])
    }

    @Test("a lost peer that is spoken of is dialled at once, and a stranger is not")
    func mentions() {
        var book = AddressBook(capacity: 16)
        _ = book.add(address(1), .met, rank: 0, at: .start)
        _ = book.add(address(2), .told(by: teller, isForeign: false), rank: 0, at: .start)
        book.connected(address(1), 1)
        book.disconnected(address(1), 1, wait: .seconds(30), at: .start)
        book.began(address(2), 2, at: .start)
        _ = book.failed(address(2), 2, spread: 0.5, at: .start)
        let soon = Instant.start + .milliseconds(1500)
        for number in 1...2 {
            let hanging = book.mention(address(number), at: soon)
            #expect(hanging == nil)
        }
        #expect(book.due(at: soon) == address(2))
        book.began(address(2), 3, at: soon)
        #expect(book.due(at: soon) == address(1))
        book.began(address(1), 4, at: soon)
        let fresh = book.mention(address(1), at: soon)
        #expect(fresh == nil)
        let hanging = book.mention(address(1), at: soon + .seconds(2))
        #expect(hanging == 4)
    }
}
