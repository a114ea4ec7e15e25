#pragma once

#include <stddef.h>

// How many times this thread has asked the allocator for memory since it began: malloc, calloc, realloc and the
// aligned ones, by whomever they were called.
unsigned long long probe_allocations(void);

// Makes the compiler believe that the memory at `pointer` is read and written here. No instruction comes of it.
static inline void probe_keep(const void *pointer, size_t size) {
    __asm__ volatile("" : : "r"(pointer), "r"(size) : "memory");
}
