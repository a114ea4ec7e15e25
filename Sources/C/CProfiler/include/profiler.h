#pragma once
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

/* gperftools: its allocator, which takes the place of the C library's in a program that links this, and its profiler.
   Texts that are returned are the caller's to free. */

/* The sampled heap as gperftools writes it. */
char *cprofiler_heap(size_t *count);
/* From now on one allocation about every so many bytes is sampled, unless the variable TCMALLOC_SAMPLE_PARAMETER has
   said something else. A thread that has allocated before takes some megabytes to notice. */
void cprofiler_sample_every(int64_t bytes);
/* Begins to take a profile of the processor's time; 0 where that cannot be. */
int cprofiler_start(void);
/* Ends it and gives it in gperftools' binary format; null where there is none. */
char *cprofiler_stop(size_t *count);
/* A number of the allocator, as "generic.current_allocated_bytes"; 0 where there is no such. */
size_t cprofiler_number(const char *name);
/* A symbol's name as it is written in Swift or C++, or null where it is of neither. */
char *cprofiler_demangled(const char *name, size_t count);

#ifdef __cplusplus
}
#endif
