#include "profiler.h"

#include <cxxabi.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gperftools/malloc_extension.h>
#include <gperftools/profiler.h>

// Exported by tcmalloc under the name that its macro for flags gives it.
namespace FLAG__namespace_do_not_use_directly_use_DECLARE_int64_instead {
extern int64_t FLAGS_tcmalloc_sample_parameter;
}

extern "C" char *swift_demangle(const char *name, size_t count, char *buffer, size_t *size, uint32_t flags);

extern "C" {

char *cprofiler_heap(size_t *count) {
    std::string text;
    MallocExtension::instance()->GetHeapSample(&text);
    char *copy = static_cast<char *>(std::malloc(text.size() + 1));
    if (!copy) {
        *count = 0;
        return nullptr;
    }
    std::memcpy(copy, text.c_str(), text.size() + 1);
    *count = text.size();
    return copy;
}

void cprofiler_sample_every(int64_t bytes) {
    int64_t &every = FLAG__namespace_do_not_use_directly_use_DECLARE_int64_instead::FLAGS_tcmalloc_sample_parameter;
    if (every == 0) every = bytes;
}

// The profiler writes to a file: one that only this process sees, and that is gone with its descriptor.
static int profile = -1;

int cprofiler_start(void) {
    if (profile >= 0) return 0;
    profile = memfd_create("profile", MFD_CLOEXEC);
    if (profile < 0) return 0;
    const std::string path = "/proc/self/fd/" + std::to_string(profile);
    if (ProfilerStart(path.c_str())) return 1;
    close(profile);
    profile = -1;
    return 0;
}

char *cprofiler_stop(size_t *count) {
    *count = 0;
    if (profile < 0) return nullptr;
    ProfilerStop();
    struct stat status;
    char *bytes = nullptr;
    if (fstat(profile, &status) == 0 && (bytes = static_cast<char *>(std::malloc(status.st_size + 1)))) {
        ssize_t got = 0;
        while (*count < static_cast<size_t>(status.st_size)
               && (got = pread(profile, bytes + *count, status.st_size - *count, *count)) > 0) {
            *count += got;
        }
    }
    close(profile);
    profile = -1;
    return bytes;
}

size_t cprofiler_number(const char *name) {
    size_t value = 0;
    return MallocExtension::instance()->GetNumericProperty(name, &value) ? value : 0;
}

char *cprofiler_demangled(const char *name, size_t count) {
    int status = 0;
    if (count > 2 && name[0] == '_' && name[1] == 'Z') return abi::__cxa_demangle(name, nullptr, nullptr, &status);
    return swift_demangle(name, count, nullptr, nullptr, 0);
}
}
