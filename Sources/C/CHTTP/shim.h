#pragma once
#include <microhttpd.h>

/* What a server calls back. All of it is called within chttp_start, MHD_run and MHD_stop_daemon, on their thread. */
struct chttp_callbacks {
    MHD_AcceptPolicyCallback accept;
    MHD_NotifyConnectionCallback connection;
    void *(*begun)(void *server, const char *target, struct MHD_Connection *connection);
    MHD_AccessHandlerCallback request;
    MHD_RequestCompletedCallback completed;
};

/* MHD_start_daemon takes its options as variable arguments, which Swift does not import. */
static inline struct MHD_Daemon *chttp_start(
    int listener, unsigned connections, size_t memory, const struct chttp_callbacks *calls, void *server) {
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, calls->accept, server, calls->request, server,
        MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory, MHD_OPTION_CONNECTION_TIMEOUT, 0u, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_NOTIFY_CONNECTION, calls->connection, server, MHD_OPTION_URI_LOG_CALLBACK, calls->begun, server,
        MHD_OPTION_NOTIFY_COMPLETED, calls->completed, server, MHD_OPTION_END);
}

/* The descriptor that says when MHD_run has something to do. */
static inline int chttp_descriptor(struct MHD_Daemon *daemon) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    return info ? info->epoll_fd : -1;
}

/* In how many milliseconds MHD_run has something to do in any case, or -1. */
static inline long long chttp_timeout(struct MHD_Daemon *daemon) {
    MHD_UNSIGNED_LONG_LONG timeout;
    return MHD_get_timeout(daemon, &timeout) == MHD_YES ? (long long)(timeout > 60000 ? 60000 : timeout) : -1;
}

static inline int chttp_socket(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

static inline const struct sockaddr *chttp_client(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info ? info->client_addr : 0;
}

static inline const char *chttp_field(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static inline void chttp_query(struct MHD_Connection *connection, MHD_KeyValueIterator each, void *context) {
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, each, context);
}

static inline struct MHD_Response *chttp_whole(const void *bytes, size_t count) {
    return MHD_create_response_from_buffer(count, (void *)bytes, MHD_RESPMEM_MUST_COPY);
}

/* An answer whose length nobody knows: `read` gives what there is, `release` is called in the end. */
static inline struct MHD_Response *chttp_stream(
    MHD_ContentReaderCallback read, void *context, MHD_ContentReaderFreeCallback release) {
    return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16384, read, context, release);
}

static inline long chttp_end_of_stream(void) { return MHD_CONTENT_READER_END_OF_STREAM; }
static inline int chttp_is_start(enum MHD_ConnectionNotificationCode code) {
    return code == MHD_CONNECTION_NOTIFY_STARTED;
}
