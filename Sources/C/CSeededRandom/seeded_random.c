#include "seeded_random.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

long syscall(long number, ...);

// The state of SplitMix64; 0 means the kernel's randomness.
static _Thread_local uint64_t thread_seed;

void cs_seed_thread_getrandom(uint64_t seed) { thread_seed = seed; }

static uint8_t next_byte(void) {
    uint64_t z = thread_seed += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return (uint8_t)(z >> 56);
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
    if (!thread_seed) return syscall(SYS_getrandom, buffer, length, flags);
    for (size_t i = 0; i < length; i++) ((uint8_t *)buffer)[i] = next_byte();
    return (ssize_t)length;
}

// GnuTLS mixes the calendar's second into what it has drawn. Where a thread repeats itself, so does its calendar.
int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!thread_seed || clock != CLOCK_REALTIME) return (int)syscall(SYS_clock_gettime, clock, time);
    time->tv_sec = 1767225600;
    time->tv_nsec = 0;
    return 0;
}
