#define _GNU_SOURCE
#include "yardsticks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { batch = 32, largest = 2048 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int open_socket(uint16_t port) {
    int descriptor = socket(AF_INET, SOCK_DGRAM, 0);
    if (descriptor < 0) return -1;
    int size = 4 << 20;
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    // What has not come by then is lost, and asked no more.
    struct timeval patience = {0, 50000};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) == 0) return descriptor;
    close(descriptor);
    return -1;
}

// Whether a datagram is an answer: its last key is y, and that says r. The other side has questions of its own.
static int is_answer(const uint8_t *bytes, unsigned size) {
    static const char end[] = "1:y1:re";
    unsigned length = sizeof end - 1;
    return size >= length && memcmp(bytes + size - length, end, length) == 0;
}

int yardstick_ask(
    uint16_t port, const uint8_t *questions, const uint16_t *sizes, int count, int window, double seconds,
    struct yardstick_asked *asked) {
    static uint8_t room[batch][largest];
    struct iovec out[batch], in[batch];
    struct mmsghdr receiving[batch];
    memset(receiving, 0, sizeof receiving);
    for (int i = 0; i < batch; i++) {
        in[i] = (struct iovec){room[i], largest};
        receiving[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
    }
    // One call sends many questions of one size, so that asking costs less than answering.
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control;
    memset(&control, 0, sizeof control);
    control.header = (struct cmsghdr){CMSG_LEN(sizeof(uint16_t)), SOL_UDP, UDP_SEGMENT};
    memcpy(CMSG_DATA(&control.header), &sizes[0], sizeof(uint16_t));
    struct msghdr sending = {.msg_iov = out, .msg_control = &control, .msg_controllen = sizeof control};
    for (int i = 0; i < count; i++)
        if (sizes[i] != sizes[0]) return EINVAL;
    memset(asked, 0, sizeof *asked);
    int descriptor = open_socket(port);
    if (descriptor < 0) return errno;
    int waiting = 0, next = 0;
    const uint8_t *place = questions;
    double begun = now();
    while (now() < begun + seconds) {
        int free = window - waiting < batch ? window - waiting : batch;
        // Many at once, as they come from many askers.
        if (free >= batch || waiting == 0) {
            for (int i = 0; i < free; i++) {
                out[i] = (struct iovec){(void *)place, sizes[next]};
                place += sizes[next];
                if (++next == count) {
                    next = 0;
                    place = questions;
                }
            }
            sending.msg_iovlen = (size_t)free;
            ssize_t sent = sendmsg(descriptor, &sending, 0);
            if (sent < 0 && errno != ECONNREFUSED) break;
            if (sent > 0) waiting += free;
        }
        int got = recvmmsg(descriptor, receiving, batch, MSG_WAITFORONE, NULL);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            asked->lost += waiting;
            waiting = 0;
            continue;
        }
        if (got < 0) break;
        for (int i = 0; i < got; i++) {
            if (!is_answer(room[i], receiving[i].msg_len)) continue;
            asked->answers++;
            asked->bytes += receiving[i].msg_len;
            if (waiting > 0) waiting--;
        }
    }
    asked->seconds = now() - begun;
    close(descriptor);
    return 0;
}

int yardstick_ask_from_many(
    uint16_t port, const uint8_t *questions, const uint16_t *sizes, int count, int sources, double seconds,
    struct yardstick_asked *asked) {
    struct pollfd descriptors[256];
    char waits[256] = {0};
    uint8_t room[largest];
    if (sources > 256) return EINVAL;
    memset(asked, 0, sizeof *asked);
    int error = 0, opened = 0;
    for (; opened < sources && error == 0; opened++) {
        descriptors[opened] = (struct pollfd){open_socket(port), POLLIN, 0};
        if (descriptors[opened].fd < 0) error = errno;
    }
    int next = 0;
    const uint8_t *place = questions;
    double begun = now();
    while (error == 0 && now() < begun + seconds) {
        int came = 0;
        for (int i = 0; i < sources; i++) {
            ssize_t size;
            while ((size = recv(descriptors[i].fd, room, largest, MSG_DONTWAIT)) > 0) {
                if (!is_answer(room, (unsigned)size)) continue;
                asked->answers++;
                asked->bytes += size;
                waits[i] = 0;
            }
            if (waits[i]) continue;
            came = 1;
            waits[i] = send(descriptors[i].fd, place, sizes[next], 0) > 0;
            place += sizes[next];
            if (++next == count) {
                next = 0;
                place = questions;
            }
        }
        if (came || poll(descriptors, (nfds_t)sources, 50) != 0) continue;
        for (int i = 0; i < sources; i++) {
            asked->lost += waits[i];
            waits[i] = 0;
        }
    }
    asked->seconds = now() - begun;
    for (int i = 0; i < opened; i++)
        if (descriptors[i].fd >= 0) close(descriptors[i].fd);
    return error;
}
