internal import MartletRuntime
internal import MartletWire

/// How a store comes by its database, and what becomes of a damaged file.
extension PeerStore {
    /// Opens the file, or does without for now.
    func open() async throws(StoreError) {
        do throws(StoreError) {
            place = try await openWhole()
        } catch {
            guard error.mayPass else { throw error }
            let memory = try Database(image: Bytes(), limits: limits.inMemory)
            place = .memory(memory, over: nil)
            failed(error)
        }
    }

    /// The database of the file; where that is damaged, it is set aside and a new one begun.
    func openWhole() async throws(StoreError) -> Place {
        do throws(StoreError) {
            return try await openFile()
        } catch {
            guard case .corrupt = error else { throw error }
            try await setAside(error)
            return try await openFile()
        }
    }

    private func openFile() async throws(StoreError) -> Place {
        let (path, limits) = (path, self.limits)
        guard isKept else {
            return .image(
                try await inBackground { () throws(StoreError) in try Database(image: Bytes(), limits: limits) })
        }
        // Empty is a new database; made here, so that its owner alone can read it.
        let place = try await onFiles { files throws(FileError) in
            try await files.append(Bytes(), to: path)
            return try await files.place(of: path)
        }
        let opened: Place
        let version: Int
        if let place {
            let database = try await inBackground { () throws(StoreError) in
                try Database(path: place, limits: limits)
            }
            (opened, version) = (.disk(database), database.foundVersion)
        } else {
            let image = try await onFiles { files throws(FileError) in
                try await files.read(path, maximum: limits.imageSize)
            }
            let database = try await inBackground { () throws(StoreError) in
                try Database(image: image ?? Bytes(), limits: limits)
            }
            (opened, version) = (.image(database), database.foundVersion)
        }
        if version > 0, version < Schema.version { tell(.migrated(from: version, to: Schema.version)) }
        return opened
    }

    /// Gives the damaged file and what belongs to it another name.
    func setAside(_ reason: StoreError) async throws(StoreError) {
        let path = path
        let aside = "\(path).damaged-\(environment.wallTime.seconds)"
        let most = limits.filesAside
        try await onFiles { files throws(FileError) in
            for suffix in ["-wal", "-shm", ""] { try await files.move(path + suffix, to: aside + suffix) }
            // One that keeps being damaged must not fill the disk. Times of as many digits are in the names' order.
            let folder = path.split(separator: "/").dropLast().joined(separator: "/")
            let name = path.split(separator: "/").last.map(String.init) ?? path
            let all = try await files.list(folder).filter {
                $0.hasPrefix("\(name).damaged-") && !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm")
            }
            for old in all.dropLast(most) {
                for suffix in ["-wal", "-shm", ""] {
                    try await files.remove(folder.isEmpty ? old + suffix : "\(folder)/\(old)\(suffix)")
                }
            }
        }
        tell(.setAside(path: aside, reason: reason))
    }

    /// Does something with files, and says what went wrong in the store's words.
    func onFiles<Result>(
        _ body: nonisolated(nonsending) (any FileStore) async throws(FileError) -> Result
    ) async throws(StoreError) -> Result {
        do throws(FileError) {
            return try await body(environment.files)
        } catch {
            switch error {
            case .full: throw .full
            case .badPath: throw .badPath
            case .cancelled: throw .cancelled
            case .tooLarge: throw .corrupt("it is larger than a peer database gets")
            case .notPermitted: throw .disk("this process may not use \(path)")
            case .system(let number, let words): throw .disk("\(words) (\(number))")
            }
        }
    }

    /// Tells the owner and the log what happened.
    func tell(_ event: StoreEvent) {
        switch event {
        case .migrated(let from, let to):
            log.notice("the peer database was brought up to date", ["from": from, "to": to])
        case .setAside(let path, let reason):
            log.error("the peer database was damaged and a new one begun", ["kept": path, "reason": reason])
        case .failing(let error):
            log.error("the peer database cannot be written and goes on in memory", ["reason": error])
        case .recovered(let lost): log.notice("the peer database is written again", ["lost": lost])
        case .lost(let count, let error):
            log.error("changes to the peer database were lost", ["count": count, "reason": error])
        }
        onEvent(event)
    }
}
