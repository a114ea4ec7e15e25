import Martlet

@main
struct MartletCommand {
    static func main() {
        print("martlet \(Martlet.version)")
    }
}
