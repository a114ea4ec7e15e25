#pragma once

#include <stddef.h>
#include <ares.h>

// In how many microseconds c-ares wants to be called, or -1 where it waits for nothing.
static inline long long cc_timeout_microseconds(ares_channel channel) {
    struct timeval time;
    struct timeval *least = ares_timeout(channel, NULL, &time);
    return least ? least->tv_sec * 1000000LL + least->tv_usec : -1;
}
