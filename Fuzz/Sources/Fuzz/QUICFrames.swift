import CQUIC
import MartletWire

/// Frames of QUIC (RFC 9000 §19) of which each part is chosen by a program.
enum QUICFrames {
    /// How many numbers follow the type of each frame that has nothing but numbers.
    private static let numbers: [UInt8: Int] = [
        0x00: 0, 0x01: 0, 0x02: 4, 0x03: 7, 0x04: 3, 0x05: 2, 0x10: 1, 0x11: 2, 0x12: 1, 0x13: 1, 0x14: 1, 0x15: 2,
        0x16: 1, 0x17: 1, 0x19: 1, 0x1E: 0,
    ]
    /// How many bytes follow that are neither numbers nor behind a length.
    private static let challenge = 8

    /// The next frame that the program says.
    static func make(_ reader: inout Reader) throws -> [UInt8] {
        let type = try reader.byte() & 31
        var bytes = [type]
        switch type {
        case 0x06:
            bytes += try number(&reader)
            bytes += try body(&reader)
        case 0x07: bytes += try body(&reader)
        case 0x08...0x0F:
            bytes += try number(&reader)
            if type & 4 != 0 { bytes += try number(&reader) }
            if type & 2 != 0 { bytes += try body(&reader) }
        case 0x18:
            bytes += try number(&reader)
            bytes += try number(&reader)
            let size = Int(try reader.byte() & 31)
            bytes += [UInt8(size)] + [UInt8](repeating: 0xC5, count: size + 16)
        case 0x1A, 0x1B: bytes += [UInt8](repeating: try reader.byte(), count: challenge)
        case 0x1C, 0x1D:
            bytes += try number(&reader)
            if type == 0x1C { bytes += try number(&reader) }
            bytes += try body(&reader)
        default:
            for _ in 0..<numbers[type, default: 0] { bytes += try number(&reader) }
        }
        return bytes
    }

    /// A number of any magnitude, in a byte of the program.
    private static func number(_ reader: inout Reader) throws -> [UInt8] {
        let byte = try reader.byte()
        let value = UInt64(byte & 15) << UInt64((byte >> 4) * 4)
        // In eight bytes each number may be written.
        let written = (value & (1 << 62 - 1) | 3 << 62).bigEndian
        return withUnsafeBytes(of: written) { Array($0) }
    }

    private static func body(_ reader: inout Reader) throws -> [UInt8] {
        let size = Int(try reader.byte())
        return [0x40, UInt8(size)] + [UInt8](repeating: UInt8(size), count: size)
    }

    // Only one play runs at a time, and what ngtcp2 calls can hold nothing.
    nonisolated(unsafe) static var next: [UInt8]?
    // The same.
    nonisolated(unsafe) private static var mixed = [UInt8](repeating: 0, count: 2048)

    /// Seals a packet as ngtcp2 does, but puts the chosen frames in place of what a full packet carries.
    static func seal(
        _ target: UnsafeMutablePointer<UInt8>?, _ aead: UnsafePointer<ngtcp2_crypto_aead>?,
        _ context: UnsafePointer<ngtcp2_crypto_aead_ctx>?, _ plain: UnsafePointer<UInt8>?, _ count: Int,
        _ nonce: UnsafePointer<UInt8>?, _ nonceCount: Int, _ extra: UnsafePointer<UInt8>?, _ extraCount: Int
    ) -> CInt {
        guard let frames = next, count >= 1000, count <= mixed.count, frames.count <= count else {
            return ngtcp2_crypto_encrypt_cb(
                target, aead, context, plain, count, nonce, nonceCount, extra, extraCount)
        }
        next = nil
        return mixed.withUnsafeMutableBufferPointer { buffer in
            buffer.update(repeating: 0)
            _ = buffer.update(fromContentsOf: frames)
            return ngtcp2_crypto_encrypt_cb(
                target, aead, context, buffer.baseAddress, count, nonce, nonceCount, extra, extraCount)
        }
    }
}
