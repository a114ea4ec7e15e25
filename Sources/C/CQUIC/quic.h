#pragma once

// ngtcp2, and what Swift cannot import of it: macros, versioned functions and socket addresses. Names begin with `cq_`.
#include <malloc.h>
#include <netinet/in.h>
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_gnutls.h>
#include <stdlib.h>
#include <string.h>
#include "tls.h"

#if NGTCP2_VERSION_NUM < 0x010b00
#error "ngtcp2 1.11 or newer is needed: any peer can abort 0.12. `make setup` installs it."
#endif

static inline ngtcp2_conn *cq_referenced_connection(ngtcp2_crypto_conn_ref *reference) {
    return (ngtcp2_conn *)reference->user_data;
}

// Leads ngtcp2's glue from the session to its connection.
static inline void cq_session_refer(cq_session *session, ngtcp2_conn *connection) {
    session->reference.user_data = connection;
    session->reference.get_conn = cq_referenced_connection;
}

static inline void cq_settings_default(ngtcp2_settings *settings) { ngtcp2_settings_default(settings); }

static inline void cq_transport_params_default(ngtcp2_transport_params *params) {
    ngtcp2_transport_params_default(params);
}

// The memory that one connection has, counted.
typedef struct cq_memory {
    ngtcp2_mem functions;
    // How many bytes it holds.
    size_t used;
} cq_memory;

static inline void *cq_counted(void *start, void *memory) {
    if (start) ((cq_memory *)memory)->used += malloc_usable_size(start);
    return start;
}

static inline void cq_counted_free(void *start, void *memory) {
    if (start) ((cq_memory *)memory)->used -= malloc_usable_size(start);
    free(start);
}

static inline void *cq_counted_malloc(size_t size, void *memory) { return cq_counted(malloc(size), memory); }

static inline void *cq_counted_calloc(size_t count, size_t size, void *memory) {
    return cq_counted(calloc(count, size), memory);
}

static inline void *cq_counted_realloc(void *start, size_t size, void *memory) {
    size_t before = start ? malloc_usable_size(start) : 0;
    void *moved = realloc(start, size);
    if (moved) ((cq_memory *)memory)->used -= before;
    return cq_counted(moved, memory);
}

static inline void cq_memory_init(cq_memory *memory) {
    memory->functions.user_data = memory;
    memory->functions.malloc = cq_counted_malloc;
    memory->functions.free = cq_counted_free;
    memory->functions.calloc = cq_counted_calloc;
    memory->functions.realloc = cq_counted_realloc;
    memory->used = 0;
}

static inline int cq_client_new(
    ngtcp2_conn **connection, const ngtcp2_cid *destination, const ngtcp2_cid *source, const ngtcp2_path *path,
    const ngtcp2_callbacks *callbacks, const ngtcp2_settings *settings, const ngtcp2_transport_params *params,
    const cq_memory *memory, void *user_data) {
    return ngtcp2_conn_client_new(
        connection, destination, source, path, NGTCP2_PROTO_VER_V1, callbacks, settings, params, &memory->functions,
        user_data);
}

static inline int cq_server_new(
    ngtcp2_conn **connection, const ngtcp2_cid *destination, const ngtcp2_cid *source, const ngtcp2_path *path,
    uint32_t version, const ngtcp2_callbacks *callbacks, const ngtcp2_settings *settings,
    const ngtcp2_transport_params *params, const cq_memory *memory, void *user_data) {
    return ngtcp2_conn_server_new(
        connection, destination, source, path, version, callbacks, settings, params, &memory->functions, user_data);
}

static inline int cq_read(
    ngtcp2_conn *connection, const ngtcp2_path *path, uint8_t ecn, const uint8_t *packet, size_t size,
    ngtcp2_tstamp now) {
    ngtcp2_pkt_info info = {.ecn = ecn};
    return ngtcp2_conn_read_pkt(connection, path, &info, packet, size, now);
}

static inline ngtcp2_ssize cq_write(
    ngtcp2_conn *connection, ngtcp2_path *path, uint8_t *ecn, uint8_t *target, size_t size, ngtcp2_ssize *taken,
    uint32_t flags, int64_t stream, const ngtcp2_vec *parts, size_t count, ngtcp2_tstamp now) {
    ngtcp2_pkt_info info = {0};
    ngtcp2_ssize written = ngtcp2_conn_writev_stream(
        connection, path, &info, target, size, taken, flags, stream, parts, count, now);
    *ecn = info.ecn;
    return written;
}

static inline ngtcp2_ssize cq_write_close(
    ngtcp2_conn *connection, ngtcp2_path *path, uint8_t *target, size_t size, const ngtcp2_ccerr *error,
    ngtcp2_tstamp now) {
    ngtcp2_pkt_info info = {0};
    return ngtcp2_conn_write_connection_close(connection, path, &info, target, size, error, now);
}

static inline void cq_info(ngtcp2_conn *connection, ngtcp2_conn_info *info) {
    ngtcp2_conn_get_conn_info(connection, info);
}

// Sets `address`, which stands in a path storage, from the two halves of an IP address' number.
static inline void cq_address_set(
    ngtcp2_addr *address, int is_v6, uint64_t high, uint64_t low, uint16_t port, uint32_t scope) {
    if (is_v6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address->addr;
        memset(v6, 0, sizeof(*v6));
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        v6->sin6_scope_id = scope;
        uint64_t halves[2] = {__builtin_bswap64(high), __builtin_bswap64(low)};
        memcpy(&v6->sin6_addr, halves, 16);
        address->addrlen = sizeof(*v6);
    } else {
        struct sockaddr_in *v4 = (struct sockaddr_in *)address->addr;
        memset(v4, 0, sizeof(*v4));
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        v4->sin_addr.s_addr = htonl((uint32_t)low);
        address->addrlen = sizeof(*v4);
    }
}

// Reads `address`, and says whether it is of IPv6.
static inline int cq_address_get(
    const ngtcp2_addr *address, uint64_t *high, uint64_t *low, uint16_t *port, uint32_t *scope) {
    if (address->addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address->addr;
        uint64_t halves[2];
        memcpy(halves, &v6->sin6_addr, 16);
        *high = __builtin_bswap64(halves[0]);
        *low = __builtin_bswap64(halves[1]);
        *port = ntohs(v6->sin6_port);
        *scope = v6->sin6_scope_id;
        return 1;
    }
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address->addr;
    *high = 0;
    *low = ntohl(v4->sin_addr.s_addr);
    *port = ntohs(v4->sin_port);
    *scope = 0;
    return 0;
}
