/// The one of `words` that differs from `word` by so little that it may have been meant; the first of several that
/// are equally near.
public func closest(to word: String, among words: [String]) -> String? {
    // Whoever writes more than that meant none of ours, and the work grows with the square of it.
    guard word.utf8.count <= 128 else { return nil }
    let distances = words.map { ($0, editDistance(Array(word), Array($0))) }
    guard let best = distances.min(by: { $0.1 < $1.1 }), best.1 <= max(1, word.count / 3) else { return nil }
    return best.0
}

/// How many characters must be put in, left out, replaced or swapped to get from one word to the other.
private func editDistance(_ one: [Character], _ other: [Character]) -> Int {
    var rows = [[Int]](repeating: [Int](repeating: 0, count: other.count + 1), count: one.count + 1)
    for row in 0...one.count { rows[row][0] = row }
    for column in 0...other.count { rows[0][column] = column }
    for row in 0..<one.count {
        for column in 0..<other.count {
            let replaced = rows[row][column] + (one[row] == other[column] ? 0 : 1)
            var least = min(replaced, rows[row][column + 1] + 1, rows[row + 1][column] + 1)
            if row > 0, column > 0, one[row] == other[column - 1], one[row - 1] == other[column] {
                least = min(least, rows[row - 1][column - 1] + 1)
            }
            rows[row + 1][column + 1] = least
        }
    }
    return rows[one.count][other.count]
}
