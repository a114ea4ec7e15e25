#include "simulator.h"

#include <pthread.h>

// The Swift runtime calls this hook, where it is set, for each job bound for the global pool.
typedef __attribute__((swiftcall)) void (*enqueue_fn)(void *job);
typedef __attribute__((swiftcall)) void (*enqueue_hook)(void *job, enqueue_fn original);
extern enqueue_hook swift_task_enqueueGlobal_hook;

static _Thread_local cs_capture_fn thread_capture;
static _Thread_local void *thread_context;
static enqueue_hook previous;
static pthread_once_t installed = PTHREAD_ONCE_INIT;

static __attribute__((swiftcall)) void on_enqueue(void *job, enqueue_fn original) {
    if (thread_capture)
        thread_capture(thread_context, job);
    else if (previous)
        previous(job, original);
    else
        original(job);
}

static void install(void) {
    previous = swift_task_enqueueGlobal_hook;
    swift_task_enqueueGlobal_hook = on_enqueue;
}

void cs_set_capture(cs_capture_fn capture, void *context) {
    pthread_once(&installed, install);
    thread_capture = capture;
    thread_context = context;
}

__attribute__((weak)) void cs_seed_thread_getrandom(uint64_t seed);

int cs_seed_getrandom(uint64_t seed) {
    if (!cs_seed_thread_getrandom) return 0;
    cs_seed_thread_getrandom(seed);
    return 1;
}
