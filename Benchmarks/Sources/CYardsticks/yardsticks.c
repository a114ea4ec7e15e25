#include "yardsticks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { piece = 64 << 10, message = 64, datagram = 1200 };

static struct sockaddr_in loopback(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return address;
}

static int unblock(int descriptor) {
    int one = 1;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fcntl(descriptor, F_SETFL, O_NONBLOCK);
}

// Two connected sockets and an epoll that watches both for what can be read.
struct pair { int epoll, client, server; };

static int open_pair(struct pair *pair) {
    struct sockaddr_in address = loopback();
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1)) return errno;
    getsockname(listener, (struct sockaddr *)&address, &size);
    pair->client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(pair->client, (struct sockaddr *)&address, size)) return errno;
    pair->server = accept(listener, 0, 0);
    close(listener);
    unblock(pair->client);
    unblock(pair->server);
    pair->epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = pair->client};
    epoll_ctl(pair->epoll, EPOLL_CTL_ADD, pair->client, &event);
    event.data.fd = pair->server;
    epoll_ctl(pair->epoll, EPOLL_CTL_ADD, pair->server, &event);
    return 0;
}

static void close_pair(struct pair *pair) {
    close(pair->client);
    close(pair->server);
    close(pair->epoll);
}

int yardstick_tcp_echo(long iterations) {
    static struct pair pair;
    static char buffer[piece];
    if (!pair.epoll) {
        int error = open_pair(&pair);
        if (error) return error;
    }
    if (write(pair.client, buffer, message) != message) return errno;
    for (;;) {
        struct epoll_event events[64];
        int count = epoll_wait(pair.epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            int descriptor = events[i].data.fd;
            if (read(descriptor, buffer, sizeof buffer) != message) return errno;
            if (descriptor == pair.client && --iterations == 0) return 0;
            if (write(descriptor, buffer, message) != message) return errno;
        }
    }
}

int yardstick_tcp_bulk(long iterations) {
    static char out[piece], in[piece];
    struct pair pair;
    int error = open_pair(&pair);
    if (error) return error;
    int64_t left = iterations * (int64_t)piece, unread = left;
    struct epoll_event event = {.events = EPOLLOUT, .data.fd = pair.client};
    epoll_ctl(pair.epoll, EPOLL_CTL_MOD, pair.client, &event);
    while (unread > 0) {
        struct epoll_event events[64];
        int count = epoll_wait(pair.epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == pair.client) {
                ssize_t sent = write(pair.client, out, left < piece ? left : piece);
                if (sent > 0) left -= sent;
                if (left == 0) {
                    event.events = 0;
                    epoll_ctl(pair.epoll, EPOLL_CTL_MOD, pair.client, &event);
                }
            } else {
                ssize_t got = read(pair.server, in, piece);
                if (got > 0) unread -= got;
            }
        }
    }
    close_pair(&pair);
    return 0;
}

int yardstick_udp(long iterations) {
    static int sender, receiver;
    static struct sockaddr_in address;
    static char buffer[2048];
    socklen_t size = sizeof address;
    if (!sender) {
        int room = 4 << 20;
        sender = socket(AF_INET, SOCK_DGRAM, 0);
        receiver = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        setsockopt(receiver, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        address = loopback();
        if (bind(receiver, (struct sockaddr *)&address, size)) return errno;
        getsockname(receiver, (struct sockaddr *)&address, &size);
    }
    while (iterations > 0) {
        long batch = iterations < 64 ? iterations : 64;
        for (long i = 0; i < batch; i++) {
            if (sendto(sender, buffer, datagram, 0, (struct sockaddr *)&address, size) != datagram) return errno;
        }
        for (long i = 0; i < batch; i++) {
            struct sockaddr_in from;
            socklen_t length = sizeof from;
            if (recvfrom(receiver, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length) < 0) return errno;
        }
        iterations -= batch;
    }
    return 0;
}
