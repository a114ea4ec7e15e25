#pragma once

// GnuTLS, and what Swift cannot import of it: macros and errno. Names begin with `cq_`.
#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <ngtcp2/ngtcp2_crypto.h>

// What a session's pointer leads to. `reference` comes first, because ngtcp2's glue takes the pointer for one.
typedef struct cq_session {
    ngtcp2_crypto_conn_ref reference;
    void *owner;
} cq_session;

// A session without tickets, whose records go through functions and never wait.
static inline int cq_session_init(gnutls_session_t *session, int is_server) {
    unsigned int role = is_server ? GNUTLS_SERVER : GNUTLS_CLIENT;
    return gnutls_init(session, role | GNUTLS_NO_TICKETS | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
}

// Makes the pull or push function, of which this is the last call, say that it would have to wait.
static inline ssize_t cq_would_block(gnutls_session_t session) {
    gnutls_transport_set_errno(session, EAGAIN);
    return -1;
}
