internal import MartletRuntime
internal import MartletWire

/// The one conversation of a store that writes.
extension PeerStore {
    /// Writes what is recorded, until the store is closed or its host is gone.
    func serve() async {
        repeat {
            do {
                try await work.wait()
            } catch {
                failure = .cancelled
                break
            }
            await turn()
            settle()
        } while !isClosing || !waiters.isEmpty
        timer.cancel()
        let place = place
        self.place = .closed
        for waiter in waiters { release(waiter, with: failure ?? .closed) }
        waiters = []
        if !queue.isEmpty, failure != .cancelled { tell(.lost(queue.count, failure ?? .closed)) }
        // Where it cannot be closed there, it is when the store is let go.
        try? await inBackground { () throws(StoreError) in
            switch place {
            case .disk(let database), .image(let database): database.close()
            case .memory(let database, let below):
                database.close()
                below?.close()
            case .closed: break
            }
        }
        ended.signal()
    }

    /// Does what there is to do now.
    private func turn() async {
        for waiter in waiters { waiter.isTried = true }
        do throws(StoreError) {
            if isSuspect { try await replaceDamaged(.corrupt("a reader found it damaged")) }
            switch place {
            case .disk(let database): try await writeAll(to: database)
            case .image(let database): try await writeImage(of: database)
            case .memory(let memory, let disk):
                try await show(in: memory)
                if isClosing || !waiters.isEmpty || environment.loop.now >= retryAt {
                    try await retry(disk)
                }
            case .closed: break
            }
        } catch {
            await failedToWrite(error)
        }
        arm()
    }

    /// Writes everything that waits into the file.
    private func writeAll(to database: Database) async throws(StoreError) {
        try await drain(into: database) { [self] in durable = queue.start }
        shown = queue.end
        recovered()
    }

    /// Writes everything that waits into `database`, and calls `written` behind each batch.
    ///
    /// When SQLite refuses something in a batch, it is looked for by halves, and given up alone: no later try would do
    /// better with it, and others must not wait behind it.
    private func drain(into database: Database, _ written: () -> Void) async throws(StoreError) {
        var most = limits.batch
        var givenUp: (count: Int, error: StoreError)?
        defer { if let givenUp { tell(.lost(givenUp.count, givenUp.error)) } }
        while !queue.isEmpty {
            let number = queue.start
            let batch = queue.batch(from: number, most: most)
            do throws(StoreError) {
                try await write(batch, to: database)
                most = min(2 * most, limits.batch)
            } catch {
                guard case .failed = error else { throw error }
                guard batch.count == 1 else {
                    most = batch.count / 2
                    continue
                }
                counted.lost += 1
                givenUp = ((givenUp?.count ?? 0) + 1, error)
            }
            queue.remove(below: number + batch.count)
            written()
        }
    }

    private func write(_ batch: [Work], to database: Database) async throws(StoreError) {
        let began = environment.loop.now
        defer { counted.writing += environment.loop.now - began }
        do throws(StoreError) {
            let outcome = try await inBackground { () throws(StoreError) in try database.write(batch) }
            counted.batches += 1
            counted.written += batch.count - outcome.refused
            counted.refused += outcome.refused
            counted.pruned += outcome.pruned
        } catch {
            counted.failures += 1
            throw error
        }
    }

    /// Brings what is in memory up to date, and writes it out where that is due.
    private func writeImage(of database: Database) async throws(StoreError) {
        try await drain(into: database) { [self] in shown = queue.start }
        let now = environment.loop.now
        let isDue = isClosing || !waiters.isEmpty || now >= (failure == nil ? imageAt : retryAt)
        guard shown > durable else { return recovered() }
        guard isDue else { return }
        guard isKept else {
            durable = shown
            return recovered()
        }
        let path = path
        let covered = shown
        let image = try await inBackground { () throws(StoreError) in try database.image() }
        try await onFiles { files throws(FileError) in try await files.replace(path, with: image, isPrivate: true) }
        durable = covered
        imageAt = environment.loop.now + limits.imageInterval
        recovered()
    }

    // MARK: While the disk fails

    /// Puts into memory what waits for the disk, so that it can be asked for.
    private func show(in memory: Database) async throws(StoreError) {
        while shown < queue.end {
            let number = max(shown, queue.start)
            let batch = queue.batch(from: number, most: limits.batch)
            do throws(StoreError) {
                _ = try await inBackground { () throws(StoreError) in try memory.write(batch) }
            } catch {
                // It is given up for the disk as well, where it would fail in the same way, and told then.
                guard case .failed = error else { throw error }
            }
            shown = number + batch.count
        }
    }

    /// Tries the disk again, and goes back to it where it works.
    private func retry(_ opened: Database?) async throws(StoreError) {
        let found: Place = if let opened { .disk(opened) } else { try await openWhole() }
        guard case .memory(let memory, _) = place, case .disk(let disk) = found else {
            // Files that are nowhere on this machine: what was in memory is what there is.
            if case .image(let database) = found, case .memory(let memory, _) = place {
                place = found
                shown = queue.start
                try await writeImage(of: database)
                memory.close()
            }
            return
        }
        place = .memory(memory, over: disk)
        try await writeAll(to: disk)
        place = .disk(disk)
        try await inBackground { () throws(StoreError) in memory.close() }
    }

    /// Something could not be written: what it means for where the database is.
    private func failedToWrite(_ error: StoreError) async {
        switch error {
        case .cancelled, .closed:
            // The host or the environment is going; nothing can be written any more.
            failure = error
            isClosing = true
            return
        case .corrupt:
            do throws(StoreError) {
                try await replaceDamaged(error)
            } catch {
                failed(error)
            }
            work.signal()
            return
        default: failed(error)
        }
        // From here on questions are answered from memory, if all that is in the file fits there. A full disk is no
        // reason to fill the memory: a large file is read as it is, and what is recorded waits.
        guard case .disk(let disk) = place, error != .busy, error != .memory else { return }
        let limits = self.limits.inMemory
        let copy = try? await inBackground { () throws(StoreError) -> Database? in
            guard try disk.size() <= limits.memorySize else { return nil }
            return try Database(image: try disk.image(), limits: limits)
        }
        guard let copy else { return }
        place = .memory(copy, over: disk)
        shown = queue.start
        try? await show(in: copy)
    }

    /// The file is damaged: a new one is begun.
    private func replaceDamaged(_ reason: StoreError) async throws(StoreError) {
        isSuspect = false
        if case .image = place {
            // The file is as it was when it was written last.
            place = try await openWhole()
        } else {
            let old = place
            let limits = self.limits
            place = .memory(try Database(image: Bytes(), limits: limits.inMemory), over: nil)
            shown = queue.start
            if case .disk(let database) = old { try await inBackground { () throws(StoreError) in database.close() } }
            if case .memory(_, let database?) = old {
                try await inBackground { () throws(StoreError) in database.close() }
            }
            try await setAside(reason)
            place = try await openWhole()
        }
        shown = queue.start
    }

    func failed(_ error: StoreError) {
        if failure == nil {
            retryInterval = limits.retryInterval
        } else {
            retryInterval = min(retryInterval * 2, limits.longestRetryInterval)
        }
        retryAt = environment.loop.now + retryInterval
        let isNew = failure == nil
        failure = error
        if isNew { tell(.failing(error)) }
        arm()
    }

    private func recovered() {
        if failure != nil {
            failure = nil
            tell(.recovered(lost: lostUntold))
        } else if lostUntold > 0 {
            tell(.lost(lostUntold, .busy))
        }
        lostUntold = 0
    }

    /// Changes found no room; that is told when others have been written.
    func lost(_ count: Int) {
        counted.lost += count
        lostUntold += count
    }

    // MARK: When

    /// Sees to it that what is left to do is done in time.
    private func arm() {
        if case .image = place, shown > durable {
            timer.arm(at: failure == nil ? imageAt : retryAt)
        } else if failure != nil {
            timer.arm(at: retryAt)
        } else if !queue.isEmpty {
            timer.arm(after: limits.writeInterval)
        }
    }

    /// Tells those who wait for the file what became of it.
    private func settle() {
        waiters.removeAll { waiter in
            if durable >= waiter.number {
                release(waiter, with: nil)
            } else if let failure, waiter.isTried {
                release(waiter, with: failure)
            } else {
                // It came while others were written, or were not: the disk may have had room again since.
                work.signal()
                return false
            }
            return true
        }
    }

    private func release(_ waiter: FlushWaiter, with error: StoreError?) {
        waiter.error = error
        waiter.done.signal()
    }
}

extension ChangeQueue {
    var isEmpty: Bool { count == 0 }
}
