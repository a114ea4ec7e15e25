#include "thread.h"

_Thread_local void *cl_thread_loop;
