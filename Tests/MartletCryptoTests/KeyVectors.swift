import CCrypto
import Foundation
import MartletWire

/// The lines of a file in `Vectors/` that are no comments, each split at its spaces.
func vectors(_ name: String) throws -> [[String]] {
    let url = Bundle.module.bundleURL.appending(path: "Vectors/\(name)")
    return try String(contentsOf: url, encoding: .utf8)
        .split(separator: "\n").filter { !$0.hasPrefix("#") }.map { $0.split(separator: " ").map(String.init) }
}

extension Bytes {
    /// The same bytes with one bit turned.
    func flipping(bit: Int) -> Bytes {
        var octets = Array(self)
        octets[bit / 8] ^= 1 << (bit % 8)
        return Bytes(octets)
    }
}

/// Whether libcrypto's error queue of this thread is empty.
var errorQueueIsEmpty: Bool { ERR_peek_error() == 0 }
