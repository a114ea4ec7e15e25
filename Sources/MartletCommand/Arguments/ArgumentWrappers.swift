/// What a wrapper keeps, and what the parser knows it by.
///
/// An object, for a command is a value: the parser sees a reflection of it, which shares this with the command.
final class ArgumentSlot<Value>: ArgumentDefinition {
    var value: Value?
    let kind: ArgumentKind
    let letter: Character?
    let help: String
    let valueName: String
    let choices: [String]
    let isRequired: Bool
    let isRepeated: Bool
    private(set) var isGiven = false
    private let defaultText: String?
    private let take: (ArgumentSlot, String) -> Bool

    init(
        _ kind: ArgumentKind, default value: Value?, letter: Character?, help: String, valueName: String,
        choices: [String] = [], isRequired: Bool = false, isRepeated: Bool = false, defaultText: String? = nil,
        take: @escaping (ArgumentSlot, String) -> Bool
    ) {
        self.kind = kind
        self.value = value
        self.letter = letter
        self.help = help
        self.valueName = valueName
        self.choices = choices
        self.isRequired = isRequired
        self.isRepeated = isRepeated
        self.defaultText = defaultText
        self.take = take
    }

    var shownDefault: String? { defaultText }

    func accept(_ text: String) -> Bool {
        guard take(self, text) else { return false }
        isGiven = true
        return true
    }

    /// The value, which the parser has seen to.
    var parsed: Value {
        guard let value else { preconditionFailure("a required argument is read before it was parsed") }
        return value
    }
}

/// How an argument stands on the command line.
enum ArgumentKind {
    case option, flag, positional
}

/// An argument, whatever its value's type.
protocol ArgumentDefinition: AnyObject {
    var kind: ArgumentKind { get }
    var letter: Character? { get }
    var help: String { get }
    var valueName: String { get }
    var choices: [String] { get }
    var isRequired: Bool { get }
    var isRepeated: Bool { get }
    var isGiven: Bool { get }
    var shownDefault: String? { get }
    /// Takes a value as it was written, and says whether it is one.
    func accept(_ text: String) -> Bool
}

/// A wrapper that holds an argument, for the parser to find by reflection.
protocol ArgumentHolder {
    var definition: any ArgumentDefinition { get }
}

/// `--name VALUE`. Without a default it must be given; with an array it may be given again and again.
@propertyWrapper
struct Option<Value>: ArgumentHolder {
    private let slot: ArgumentSlot<Value>
    var definition: any ArgumentDefinition { slot }
    var wrappedValue: Value {
        get { slot.parsed }
        nonmutating set { slot.value = newValue }
    }

    init(letter: Character? = nil, help: String, valueName: String? = nil) where Value: ExpressibleByArgument {
        slot = .one(.option, default: nil, letter: letter, help: help, valueName: valueName)
    }

    init(
        wrappedValue: Value, letter: Character? = nil, help: String, valueName: String? = nil
    ) where Value: ExpressibleByArgument {
        slot = .one(.option, default: wrappedValue, letter: letter, help: help, valueName: valueName)
    }

    init<Part: ExpressibleByArgument>(
        letter: Character? = nil, help: String, valueName: String? = nil
    ) where Value == Part? {
        slot = .perhaps(.option, letter: letter, help: help, valueName: valueName)
    }

    init<Part: ExpressibleByArgument>(
        wrappedValue: [Part], letter: Character? = nil, help: String, valueName: String? = nil
    ) where Value == [Part] {
        slot = .several(.option, default: wrappedValue, letter: letter, help: help, valueName: valueName)
    }
}

/// A value that stands by itself, in order. Without a default it must be given; an array takes all that is left.
@propertyWrapper
struct Argument<Value>: ArgumentHolder {
    private let slot: ArgumentSlot<Value>
    var definition: any ArgumentDefinition { slot }
    var wrappedValue: Value {
        get { slot.parsed }
        nonmutating set { slot.value = newValue }
    }

    init(help: String, valueName: String? = nil) where Value: ExpressibleByArgument {
        slot = .one(.positional, default: nil, letter: nil, help: help, valueName: valueName)
    }

    init<Part: ExpressibleByArgument>(help: String, valueName: String? = nil) where Value == Part? {
        slot = .perhaps(.positional, letter: nil, help: help, valueName: valueName)
    }

    init<Part: ExpressibleByArgument>(
        wrappedValue: [Part], help: String, valueName: String? = nil
    ) where Value == [Part] {
        slot = .several(.positional, default: wrappedValue, letter: nil, help: help, valueName: valueName)
    }
}

/// `--name`, which is on or off; `--no-name` where it is on by itself.
@propertyWrapper
struct Flag: ArgumentHolder {
    private let slot: ArgumentSlot<Bool>
    var definition: any ArgumentDefinition { slot }
    var wrappedValue: Bool {
        get { slot.parsed }
        nonmutating set { slot.value = newValue }
    }

    init(wrappedValue: Bool = false, letter: Character? = nil, help: String) {
        slot = ArgumentSlot(
            .flag, default: wrappedValue, letter: letter, help: help, valueName: "",
            defaultText: wrappedValue ? "on" : nil
        ) { slot, _ in
            slot.value = !wrappedValue
            return true
        }
    }
}

/// Arguments that several commands share.
@propertyWrapper
struct OptionGroup<Group: ParsableArguments>: ArgumentGroup {
    var wrappedValue = Group()
    var group: any ParsableArguments { wrappedValue }
}

/// A wrapper that holds further arguments.
protocol ArgumentGroup {
    var group: any ParsableArguments { get }
}

extension ArgumentSlot where Value: ExpressibleByArgument {
    fileprivate static func one(
        _ kind: ArgumentKind, default value: Value?, letter: Character?, help: String, valueName: String?
    ) -> ArgumentSlot {
        ArgumentSlot(
            kind, default: value, letter: letter, help: help, valueName: valueName ?? Value.valueName,
            choices: Value.allValues, isRequired: value == nil, defaultText: value?.argumentText
        ) { slot, text in
            slot.value = Value(argument: text)
            return slot.value != nil
        }
    }
}

extension ArgumentSlot {
    fileprivate static func perhaps<Part: ExpressibleByArgument>(
        _ kind: ArgumentKind, letter: Character?, help: String, valueName: String?
    ) -> ArgumentSlot where Value == Part? {
        ArgumentSlot(
            kind, default: .some(nil), letter: letter, help: help, valueName: valueName ?? Part.valueName,
            choices: Part.allValues
        ) { slot, text in
            guard let value = Part(argument: text) else { return false }
            slot.value = .some(value)
            return true
        }
    }

    fileprivate static func several<Part: ExpressibleByArgument>(
        _ kind: ArgumentKind, default value: [Part], letter: Character?, help: String, valueName: String?
    ) -> ArgumentSlot where Value == [Part] {
        ArgumentSlot(
            kind, default: value, letter: letter, help: help, valueName: valueName ?? Part.valueName,
            choices: Part.allValues, isRepeated: true,
            defaultText: value.isEmpty ? nil : value.map(\.argumentText).joined(separator: ", ")
        ) { slot, text in
            guard let value = Part(argument: text) else { return false }
            // What is given takes the place of the default.
            slot.value = slot.isGiven ? slot.parsed + [value] : [value]
            return true
        }
    }
}
