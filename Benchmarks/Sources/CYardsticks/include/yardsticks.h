#pragma once

#include <stdint.h>

// What the same work costs in C: one thread, one epoll, both ends of each connection. Each function does its work so
// many times and returns 0, or the number of the system's error.

// So many round trips of 64 bytes over one TCP connection, each read and written by epoll's word.
int yardstick_tcp_echo(long iterations);

// So many times 64 KiB written at one end of a TCP connection and read at the other.
int yardstick_tcp_bulk(long iterations);

// So many datagrams of 1200 bytes, each sent by its own sendto and received by its own recvfrom.
int yardstick_udp(long iterations);

// What came of asking.
struct yardstick_asked {
    long answers;
    // The bytes of all answers.
    long bytes;
    // Questions that were not answered in time.
    long lost;
    double seconds;
};

// Sends questions of KRPC in turn to whoever listens at a port of loopback, with at most so many waiting for an answer at
// once, for so long. The questions stand one behind the other and are all of one size; 32 are sent by one call (UDP_SEGMENT).
int yardstick_ask(
    uint16_t port, const uint8_t *questions, const uint16_t *sizes, int count, int window, double seconds,
    struct yardstick_asked *asked);

// The same from so many sockets, at most 256, each with one question at a time.
int yardstick_ask_from_many(
    uint16_t port, const uint8_t *questions, const uint16_t *sizes, int count, int sources, double seconds,
    struct yardstick_asked *asked);
