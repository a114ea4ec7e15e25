#pragma once

#include <stdint.h>

// While a capture is set on a thread, jobs that the thread would put on Swift's global pool go to it instead.
typedef void (*cs_capture_fn)(void *context, void *job);
void cs_set_capture(cs_capture_fn capture, void *context);

// Makes getrandom() on the calling thread repeat itself from `seed`, where the executable holds CSeededRandom;
// 0 ends it. Says whether it does.
int cs_seed_getrandom(uint64_t seed);
