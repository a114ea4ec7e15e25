import Glibc

/// A variable of the process's environment.
func environmentText(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
