import MartletWire
import TestSupport
import Testing

@testable import MartletMainline

@Suite("KRPC")
struct KRPCTests {
    private func message(_ text: String) throws -> KRPCMessage { try KRPCMessage(Bytes(utf8: text).span) }

    @Test("the examples of BEP 5 are read")
    func examples() throws {
        let id = try NodeID(bytes: Bytes(utf8: "abcdefghij0123456789").span)
        let target = try NodeID(bytes: Bytes(utf8: "mnopqrstuvwxyz123456").span)
        let ping = try message("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe")
        #expect(ping.kind == .query && ping.method == .ping && ping.id == id && !ping.isReadOnly)
        let find = try message(
            "d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe")
        #expect(find.method == .findNode && find.target == target)
        let get = try message(
            "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe")
        #expect(get.method == .getPeers && get.target == target)
        let text =
            "d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e"
            + "5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe"
        let announce = try message(text)
        #expect(announce.method == .announcePeer && announce.impliesPort && announce.port == 6881)
        #expect(announce.token.bytes(in: Bytes(utf8: text).span) == Bytes(utf8: "aoeusnth"))
        let error = try message("d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee")
        #expect(error.kind == .error && error.errorCode == 201)
        let peersText =
            "d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re"
        let peers = try message(peersText)
        var found: [String] = []
        let datagram = Bytes(utf8: peersText)
        CompactPeers.forEach(in: peers.values.span(in: datagram.span), maximum: 10) { found.append("\($0)") }
        #expect(peers.kind == .answer && found == ["97.120.106.101:11893", "105.100.104.116:28269"])
    }

    @Test("what is met in the wild is taken as it is")
    func wild() throws {
        // Unsorted keys, unknown keys of every kind, a version, bytes behind the end, no `y`, values of wrong kinds.
        let ping = try message("d1:y1:q1:t4:\0\u{1}\0\u{2}1:q4:ping1:ad1:zli1ee2:id20:abcdefghij01234567891:b1:cee")
        #expect(ping.method == .ping && ping.id != nil && ping.transaction.count == 4)
        #expect(try message("d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t0:1:v4:UT\0\u{1}1:y1:qejunk").method == .ping)
        #expect(try message("d1:rd2:id20:abcdefghij0123456789e1:t2:aae").kind == .answer)
        #expect(try message("d1:e3:bad1:t2:aa1:y1:ee").errorCode == 201)
        let odd = try message(
            "d1:ad2:idi5e4:port2:xx6:target3:abc5:tokeni7e4:want2:n43:seq3:abce1:q4:pong1:ti1e1:t1:a1:y1:qe")
        #expect(odd.method == nil && odd.id == nil && odd.port == nil && odd.target == nil && !odd.token.isThere)
        #expect(!odd.wantsV4 && odd.sequence == nil && odd.transaction.isThere)
        let want = try message("d1:ad2:id20:abcdefghij01234567894:wantl2:n42:n62:n9i4eee1:q4:ping2:roi1e1:t2:aa1:y1:qe")
        #expect(want.wantsV4 && want.wantsV6 && want.isReadOnly)
    }

    @Test(
        "what is no message of the DHT is an error",
        arguments: [
            "", "d", "de", "i1e", "le", "d1:y1:qe", "d1:t2:aae", "d1:t2:aa1:y1:ze", "d1:t2:aa1:y3:qqqe",
            "d1:t33:\(String(repeating: "a", count: 33))1:y1:qe", "d1:ad2:id99:abce1:t2:aa1:y1:qe",
            String(repeating: "l", count: 100),
        ])
    func malformed(text: String) {
        #expect(throws: WireError.self) { try message(text) }
    }

    @Test("a message cut short anywhere is an error, and one of which any byte is changed never a trap")
    func truncated() throws {
        let whole = Bytes(
            utf8:
                "d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:wantl2:n4ee1:q9:get_peers1:t2:aa1:y1:qe"
        )
        for count in 0..<whole.count {
            #expect(throws: WireError.self) { try KRPCMessage(whole.slice(0..<count).span) }
        }
        for index in 0..<whole.count {
            for byte: UInt8 in [0, 0x30, 0x39, 0x3A, 0x64, 0x65, 0x69, 0x6C, 0xFF] {
                var bytes = Array(whole)
                bytes[index] = byte
                _ = try? KRPCMessage(Bytes(bytes).span)
            }
        }
    }

    @Test("every query of ours is read as what it is")
    func queries() throws {
        var generator = SeededGenerator(seed: 3)
        let id = NodeID(using: &generator)
        let target = NodeID(using: &generator)
        let item = try MainlineItem(immutable: Bytes(utf8: "4:abcd"))
        let queries: [(KRPCQuery, KRPCMethod)] = [
            (.ping, .ping), (.findNode(target), .findNode), (.getPeers(target), .getPeers),
            (.announce(target, port: 7, isImplied: false, token: [1, 2]), .announcePeer),
            (.get(target, newerThan: 3), .get),
            (.put(item, replacing: 4, token: [1, 2]), .put), (.sample(target), .sampleInfohashes),
        ]
        for (query, method) in queries {
            let bytes = query.encoded(transaction: 0xDEAD_BEEF, id: id, isReadOnly: true, wantsBoth: true)
            // In the only form that bencode has.
            #expect(try Bencode(bytes).encoded() == bytes)
            let message = try KRPCMessage(bytes.span)
            #expect(message.method == method && message.id == id && message.isReadOnly)
            #expect(message.transaction.bytes(in: bytes.span) == [0xDE, 0xAD, 0xBE, 0xEF])
            switch method {
            case .findNode: #expect(message.target == target && message.wantsV4 && message.wantsV6)
            case .announcePeer: #expect(message.port == 7 && !message.impliesPort && message.token.count == 2)
            case .get: #expect(message.sequence == 3 && message.target == target)
            case .put: #expect(message.expectedSequence == 4 && message.value.bytes(in: bytes.span) == item.value)
            default: break
            }
        }
    }

    @Test("an answer never exceeds its bound, however much there is to tell", arguments: [1200, 1024, 600])
    func bounded(maximum: Int) throws {
        var generator = SeededGenerator(seed: 9)
        for hasItem in [false, true] {
            var answer = KRPCAnswer()
            answer.hasNodes4 = true
            answer.hasNodes6 = true
            for number in 0..<16 {
                let ip = number % 2 == 0 ? IPAddress(v4: 7) : IPAddress(v6: 9)
                answer.nodes.append(
                    CompactNode(id: NodeID(using: &generator), address: SocketAddress(ip, port: 9)))
            }
            answer.token = 5
            for number in 0..<500 { answer.peers.append(SocketAddress(IPAddress(v4: UInt32(number)), port: 1)) }
            if hasItem, maximum >= 1200 {
                answer.item = try MainlineItem(immutable: Bytes(utf8: "996:\(String(repeating: "x", count: 996))"))
            }
            let bytes = answer.encoded(
                transaction: Bytes([UInt8](repeating: 1, count: 32)).span, id: NodeID(using: &generator),
                to: SocketAddress(.anyV6, port: 1), maximum: maximum)
            #expect(bytes.count <= maximum)
            #expect(try Bencode(bytes).encoded() == bytes)
            #expect(try Bencode(bytes)["r"]?["id"] != nil)
        }
    }
}
