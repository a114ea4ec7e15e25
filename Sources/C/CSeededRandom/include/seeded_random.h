#pragma once

#include <stdint.h>
#include <sys/random.h>

// For test executables alone: replaces getrandom() for the whole program, and lets a thread make it repeat itself.
// Linking this target is enough; the simulator finds it. GnuTLS, which has no hook for randomness, follows. On such a
// thread the calendar clock stands still, because GnuTLS draws from that as well.
void cs_seed_thread_getrandom(uint64_t seed);
