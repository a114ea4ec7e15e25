#pragma once

// The loop that runs on this thread, or null. Swift has no thread-local variables of its own.
extern _Thread_local void *cl_thread_loop;

static inline void *cl_current_loop(void) { return cl_thread_loop; }
static inline void cl_set_current_loop(void *loop) { cl_thread_loop = loop; }
