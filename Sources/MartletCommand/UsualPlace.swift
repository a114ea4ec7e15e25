import Foundation
import Martlet

extension IdentityFile {
    /// Where a person's key is by itself: `identity` in the folder `martlet` of where the system keeps what belongs to
    /// programs.
    static var usual: String {
        let home = ProcessInfo.processInfo.environment
        let data = home["XDG_DATA_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
        return (data ?? NSHomeDirectory() + "/.local/share") + "/martlet/identity"
    }
}
