import Martlet

/// A table for people: columns as wide as they have to be, those of numbers to the right. A machine.
///
/// Whatever stands in a cell is shown by `TerminalText`, since most of it comes from strangers.
struct TextTable {
    /// A column.
    struct Column {
        var title: String
        var isNumber = false
    }

    var columns: [Column]
    var rows: [[String]] = []

    /// The table's lines, of which the first has the titles. No line ends with blanks.
    var text: String {
        let shown = rows.map { $0.map { TerminalText.escaped($0) } }
        let widths = columns.indices.map { index in
            (shown.map { $0[index].count } + [columns[index].title.count]).max() ?? 0
        }
        let lines = [columns.map(\.title)] + shown
        return lines.map { line in
            let cells = zip(zip(line, widths), columns).map { cell, column in
                let blanks = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
                return column.isNumber ? blanks + cell.0 : cell.0 + blanks
            }
            let whole = cells.joined(separator: "  ")
            return String(whole.reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n")
    }

    /// Names and what belongs to them, one a line; further lines of the same have no name.
    static func facts(_ facts: [(name: String, values: [String])]) -> String {
        let width = facts.map(\.name.count).max() ?? 0
        return facts.flatMap { fact in
            fact.values.enumerated().map { index, value in
                let name = index == 0 ? fact.name : ""
                return "\(name)\(String(repeating: " ", count: width - name.count))  \(TerminalText.escaped(value))"
            }
        }.joined(separator: "\n")
    }
}
