#pragma once

// What Linux has and `import Glibc` lacks. Never define _GNU_SOURCE here: it changes types that Glibc's module
// declares as well, and clean debug builds break. What only it declares is bound by its symbol's name instead.
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <linux/errqueue.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <time.h>

struct cl_mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
extern int cl_recvmmsg(int fd, struct cl_mmsghdr *v, unsigned int n, int flags, void *timeout) __asm__("recvmmsg");
extern int cl_sendmmsg(int fd, struct cl_mmsghdr *v, unsigned int n, int flags) __asm__("sendmmsg");
extern int cl_accept4(int fd, void *addr, socklen_t *len, int flags) __asm__("accept4");
extern int cl_pipe2(int fds[2], int flags) __asm__("pipe2");
extern int cl_epoll_pwait2(int fd, struct epoll_event *events, int n, const struct timespec *timeout, const void *mask)
    __asm__("epoll_pwait2");

// `struct timespec` stays on this side: several modules define it, and which of them Swift takes it to be of depends on
// the order in which it meets them.

// What a clock shows, in nanoseconds.
static inline int64_t cl_clock_nanoseconds(int clock) {
    struct timespec time = {0, 0};
    clock_gettime((clockid_t)clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

// Waits until there are events, for at most `nanoseconds`, or without an end if those are negative.
static inline int cl_epoll_wait_nanoseconds(int fd, struct epoll_event *events, int n, int64_t nanoseconds) {
    struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};
    return cl_epoll_pwait2(fd, events, n, nanoseconds < 0 ? NULL : &time, NULL);
}
extern int cl_pthread_setname(pthread_t t, const char *name) __asm__("pthread_setname_np");

struct cl_in_pktinfo { int ipi_ifindex; struct in_addr ipi_spec_dst; struct in_addr ipi_addr; };
struct cl_in6_pktinfo { struct in6_addr ipi6_addr; unsigned int ipi6_ifindex; };

// Functions with a variable number of arguments, as functions.
static inline int cl_set_timer_slack(unsigned long nanoseconds) { return prctl(PR_SET_TIMERSLACK, nanoseconds); }

// Macros, as functions.
static inline struct cmsghdr *cl_cmsg_firsthdr(const struct msghdr *m) { return CMSG_FIRSTHDR(m); }
static inline struct cmsghdr *cl_cmsg_nxthdr(struct msghdr *m, struct cmsghdr *c) { return CMSG_NXTHDR(m, c); }
static inline void *cl_cmsg_data(struct cmsghdr *c) { return CMSG_DATA(c); }
static inline size_t cl_cmsg_space(size_t n) { return CMSG_SPACE(n); }
static inline size_t cl_cmsg_len(size_t n) { return CMSG_LEN(n); }
