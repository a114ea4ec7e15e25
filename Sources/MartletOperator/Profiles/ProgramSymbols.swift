internal import Glibc

/// The names of this program's functions, from the symbol tables (ELF) of all that is mapped into it.
///
/// It reads files, and takes some tenths of a second: not for a loop.
struct ProgramSymbols {
    /// A function.
    struct Symbol: Hashable {
        /// Its name as it is written in its language, where that is known.
        var name: String
        /// The file whose code it is.
        var file: String
    }

    /// Functions by an address in them.
    typealias Names = [UInt64: Symbol]

    /// A file of which code is mapped.
    private struct Object {
        var path: String
        /// The lowest address at which something of it is mapped, and where in the file that stands.
        var start: UInt64
        var offset: UInt64
        var code: [Range<UInt64>] = []
    }

    /// The names of the functions in which `addresses` lie. One that lies in none gets its file and offset for a name.
    static func names(of addresses: [UInt64], demangled: (String) -> String?) -> Names {
        let sorted = Array(Set(addresses)).sorted()
        var names: Names = [:]
        for object in objects() {
            let inside = sorted.filter { address in object.code.contains { $0.contains(address) } }
            guard !inside.isEmpty else { continue }
            let file = object.path.split(separator: "/").last.map(String.init) ?? object.path
            for address in inside {
                let offset = String(address &- object.start &+ object.offset, radix: 16)
                names[address] = Symbol(name: "\(file)+0x\(offset)", file: object.path)
            }
            guard let image = MappedFile(object.path) else { continue }
            image.eachFunction(mappedAt: object.start, offset: object.offset) { range, name in
                var index = inside.partition(above: range.lowerBound)
                guard index < inside.count, range.contains(inside[index]) else { return }
                let mangled = name()
                let symbol = Symbol(name: demangled(mangled) ?? mangled, file: object.path)
                while index < inside.count, range.contains(inside[index]) {
                    names[inside[index]] = symbol
                    index += 1
                }
            }
        }
        return names
    }

    /// Where this program's own file is.
    static var programPath: String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        return String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// What is mapped, in the order of addresses.
    private static func objects() -> [Object] {
        var objects: [Object] = []
        for line in wholeFile("/proc/self/maps").split(separator: UInt8(ascii: "\n")) {
            let words = String(decoding: line, as: UTF8.self).split(separator: " ", maxSplits: 5)
            guard words.count == 6 else { continue }
            let path = words[5].drop { $0 == " " }
            let ends = words[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            guard path.hasPrefix("/"), ends.count == 2, ends[0] < ends[1], let offset = UInt64(words[2], radix: 16)
            else { continue }
            if objects.last.map(\.path) != String(path) {
                objects.append(Object(path: String(path), start: ends[0], offset: offset))
            }
            if words[1].contains("x") { objects[objects.count - 1].code.append(ends[0]..<ends[1]) }
        }
        return objects
    }
}

extension [UInt64] {
    /// The index of the first that is not below `bound`; the array is sorted.
    fileprivate func partition(above bound: UInt64) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < bound { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// All that the file at `path` holds, read in one go or several: files of the kernel have no size.
func wholeFile(_ path: String) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    return wholeFile(descriptor)
}

/// All that is left to read from `descriptor`.
func wholeFile(_ descriptor: Int32) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return bytes }
        bytes += buffer[..<count]
    }
}

/// An ELF file of 64 bits, mapped for reading.
private final class MappedFile {
    private let bytes: UnsafeRawBufferPointer

    init?(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_size > MemoryLayout<Elf64_Ehdr>.size,
            let start = mmap(nil, Int(status.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED
        else { return nil }
        bytes = UnsafeRawBufferPointer(start: start, count: Int(status.st_size))
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }

    /// What stands at `offset`, where the file is long enough.
    private func value<Value: BitwiseCopyable>(_ type: Value.Type, at offset: UInt64) -> Value? {
        guard offset <= UInt64(bytes.count), MemoryLayout<Value>.size <= bytes.count - Int(offset) else { return nil }
        return bytes.loadUnaligned(fromByteOffset: Int(offset), as: type)
    }

    private func text(at offset: UInt64) -> String {
        guard offset < UInt64(bytes.count) else { return "" }
        return String(decoding: bytes[Int(offset)...].prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Calls `body` for each function with its addresses, where what stands at `fileOffset` is mapped at `address`.
    func eachFunction(
        mappedAt address: UInt64, offset fileOffset: UInt64, _ body: (Range<UInt64>, _ name: () -> String) -> Void
    ) {
        guard let head = value(Elf64_Ehdr.self, at: 0), head.e_ident.0 == 0x7F, head.e_ident.4 == 2 else { return }
        let segments = (0..<UInt64(head.e_phnum)).compactMap { index in
            value(Elf64_Phdr.self, at: head.e_phoff &+ index &* UInt64(head.e_phentsize))
        }
        let sections = (0..<UInt64(head.e_shnum)).compactMap { index in
            value(Elf64_Shdr.self, at: head.e_shoff &+ index &* UInt64(head.e_shentsize))
        }
        // The segment that holds `fileOffset` says at which address it was meant to be.
        let holder = segments.first { segment in
            segment.p_type == 1 && fileOffset >= segment.p_offset & ~0xFFF
                && fileOffset < segment.p_offset &+ segment.p_filesz
        }
        guard let holder else { return }
        let bias = address &- (holder.p_vaddr &- holder.p_offset &+ fileOffset)
        // The whole table, or where a program was stripped the one for linking.
        guard let table = sections.first(where: { $0.sh_type == 2 }) ?? sections.first(where: { $0.sh_type == 11 }),
            Int(table.sh_link) < sections.count
        else { return }
        let names = sections[Int(table.sh_link)].sh_offset
        let size = UInt64(MemoryLayout<Elf64_Sym>.size)
        for index in 0..<table.sh_size / size {
            guard let symbol = value(Elf64_Sym.self, at: table.sh_offset &+ index &* size) else { return }
            guard symbol.st_info & 15 == 2, symbol.st_value != 0, symbol.st_size < 1 << 32 else { continue }
            let start = bias &+ symbol.st_value
            body(start..<start &+ max(symbol.st_size, 1)) { text(at: names &+ UInt64(symbol.st_name)) }
        }
    }
}
