import Testing

@testable import MartletRuntime

@Suite("How busy a machine is")
struct MachineUseTests {
    private static let meminfo = """
        MemTotal:       16000000 kB
        MemFree:          500000 kB
        MemAvailable:   12000000 kB
        Buffers:          100000 kB
        """

    @Test("shares come out of what the kernel counts, waiting for disks being no work")
    func shares() throws {
        let earlier = try #require(
            MachineUse(stat: "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3 4\n", meminfo: Self.meminfo))
        let later = try #require(MachineUse(stat: "cpu  150 10 130 1300 200 5 5 0 90 0\n", meminfo: Self.meminfo))
        #expect(earlier.memoryShare == 250)
        #expect(later.processorShare(since: earlier) == 125)
        #expect(earlier.processorShare(since: later) == 0 && later.processorShare(since: later) == 0)
    }

    @Test("what says something else gives nothing, and never a share above one")
    func nonsense() {
        for stat in ["", "cpu", "cpu  1 2 3", "intr 5"] {
            #expect(MachineUse(stat: stat, meminfo: Self.meminfo) == nil)
        }
        for meminfo in ["", "MemTotal: 5 kB", "MemTotal:\nMemAvailable:", "MemTotal: 0 kB\nMemAvailable: 0 kB"] {
            #expect(MachineUse(stat: "cpu  1 2 3 4", meminfo: meminfo) == nil)
        }
        let odd = MachineUse(working: 50, time: 10, memory: 10, availableMemory: 20)
        let before = MachineUse(working: 0, time: 0, memory: 10, availableMemory: 20)
        #expect(odd.memoryShare == 0 && odd.processorShare(since: before) == 1000)
    }

    @Test("this machine tells how busy it is")
    func here() throws {
        let use = try #require(MachineUse.now())
        #expect(use.memory > 1 << 20 && use.availableMemory < use.memory)
        #expect(use.time > use.working && use.working > 0)
    }
}
