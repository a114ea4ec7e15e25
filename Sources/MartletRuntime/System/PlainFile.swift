internal import Glibc
package import MartletWire

/// Puts `bytes` into the file at `path` of this machine, in place of what was there. Blocks; for tools and tests.
package func writeFile(_ path: String, _ bytes: Bytes) throws(FileError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw FileError(number: errno) }
    defer { close(descriptor) }
    var written = 0
    while written < bytes.count {
        let count = bytes.slice(written..<bytes.count).withUnsafeBytes {
            Glibc.write(descriptor, $0.baseAddress, $0.count)
        }
        if count < 0 {
            guard errno == EINTR else { throw FileError(number: errno) }
        } else {
            written += count
        }
    }
}
