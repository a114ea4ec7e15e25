/// The words of multistream-select 1.0, which two sides use to agree on a protocol.
public enum Multistream {
    /// The name of multistream-select itself, which both sides say first.
    public static let header = "/multistream/1.0.0"
    /// What is said to a protocol that one does not speak.
    public static let notAvailable = "na"
    /// What asks for a list of all protocols.
    public static let list = "ls"
    /// The longest line, with its line feed. The specification has no bound.
    public static let maximumLineSize = 1024
}
