// Everything of OpenSSL that Redpool touches. OpenSSL never touches a socket here: it reads and
// writes two windows of memory, and EventLoop moves their bytes. Each function that calls into the
// TLS state machine clears the thread's error queue first and leaves it empty, because an old entry
// of another connection would turn a success into a failure.

#ifndef REDPOOL_TLS_SHIM_H
#define REDPOOL_TLS_SHIM_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// MARK: Windows

// The memory that stands for a socket. A worker has one for all its connections: it is filled
// before a call and emptied after it.
struct redpool_tls_window {
    const unsigned char *in;  // Ciphertext that has come.
    size_t in_left;
    unsigned char *out;       // Ciphertext that is to go. Grows, so a write is never refused.
    size_t out_size, out_used;
};

static inline int redpool_tls_window_read(BIO *bio, char *into, int count) {
    struct redpool_tls_window *window = (struct redpool_tls_window *)BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (window == NULL || into == NULL || count <= 0) return 0;
    if (window->in_left == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = (size_t)count < window->in_left ? (size_t)count : window->in_left;
    memcpy(into, window->in, n);
    window->in += n;
    window->in_left -= n;
    return (int)n;
}

static inline int redpool_tls_window_write(BIO *bio, const char *from, int count) {
    struct redpool_tls_window *window = (struct redpool_tls_window *)BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (window == NULL || from == NULL || count <= 0) return 0;
    size_t needed = window->out_used + (size_t)count;
    if (needed > window->out_size) {
        size_t size = window->out_size * 2 > needed ? window->out_size * 2 : needed;
        unsigned char *bigger = (unsigned char *)realloc(window->out, size);
        if (bigger == NULL) return -1;
        window->out = bigger;
        window->out_size = size;
    }
    memcpy(window->out + window->out_used, from, (size_t)count);
    window->out_used += (size_t)count;
    return count;
}

static inline long redpool_tls_window_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

// The kind of the BIO. Made once; NULL without memory.
static inline BIO_METHOD *redpool_tls_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "window");
    if (method == NULL) return NULL;
    BIO_meth_set_read(method, redpool_tls_window_read);
    BIO_meth_set_write(method, redpool_tls_window_write);
    BIO_meth_set_ctrl(method, redpool_tls_window_control);
    return method;
}

// MARK: Errors

// Empties the error queue, if it has something: OpenSSL 3.0 clears all its 16 entries in any case,
// with two calls of free for each, and did so four times for a small command of a client.
static inline void redpool_tls_clear_errors(void) {
    if (ERR_peek_error() != 0) ERR_clear_error();
}

// Why something failed: OpenSSL's number of the reason within its library, and its text.
struct redpool_tls_error {
    int library, reason;
    char text[200];
};

// Takes the oldest entry of the error queue, which is the cause, and empties the queue.
static inline void redpool_tls_take_error(struct redpool_tls_error *error) {
    unsigned long code = ERR_get_error();
    error->library = ERR_GET_LIB(code);
    error->reason = ERR_GET_REASON(code);
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);
    if (text != NULL) {
        snprintf(error->text, sizeof error->text, "%s", text);
    } else if (code != 0) {
        snprintf(error->text, sizeof error->text, "error %lx", code);
    } else {
        snprintf(error->text, sizeof error->text, "unknown error");
    }
    ERR_clear_error();
}

// MARK: Contexts

// What happened on a connection in callbacks of OpenSSL.
struct redpool_tls_notes {
    SSL_SESSION *session;  // The newest session that the server has given. Owned.
    bool was_asked;        // The server has asked for a client certificate, and there is none.
    // At a server: records without data behind the handshake, and how many there may be.
    int idle_records, most_idle_records;
};

static inline int redpool_tls_new_session(SSL *ssl, SSL_SESSION *session) {
    struct redpool_tls_notes *notes = (struct redpool_tls_notes *)SSL_get_app_data(ssl);
    if (notes == NULL) return 0;
    SSL_SESSION_free(notes->session);
    notes->session = session;
    return 1;  // The reference is ours now.
}

static inline int redpool_tls_asked(SSL *ssl, X509 **certificate, EVP_PKEY **key) {
    (void)certificate, (void)key;
    struct redpool_tls_notes *notes = (struct redpool_tls_notes *)SSL_get_app_data(ssl);
    if (notes != NULL) notes->was_asked = true;
    return 0;
}

// Counts what a client sends behind its handshake beside data: each key update costs new keys and an
// answer, and OpenSSL would take any number of them in one read. At the limit it sees no more input.
static inline void redpool_tls_message(int is_write, int version, int type, const void *bytes,
                                       size_t count, SSL *ssl, void *owner) {
    (void)version, (void)owner;
    struct redpool_tls_notes *notes = (struct redpool_tls_notes *)SSL_get_app_data(ssl);
    if (is_write || notes == NULL || count == 0 || !SSL_is_init_finished(ssl)) return;
    bool is_inner = type == SSL3_RT_INNER_CONTENT_TYPE;
    bool is_outer = type == SSL3_RT_HEADER && SSL_version(ssl) < TLS1_3_VERSION;
    if (!is_inner && !is_outer) return;
    if (*(const unsigned char *)bytes == SSL3_RT_APPLICATION_DATA) return;
    if (++notes->idle_records <= notes->most_idle_records) return;
    BIO *bio = SSL_get_rbio(ssl);
    if (bio != NULL && BIO_get_data(bio) != NULL)
        ((struct redpool_tls_window *)BIO_get_data(bio))->in_left = 0;
}

// The process ends without exit handlers, so OpenSSL must install none. The system's openssl.cnf is
// read: its policy of protocols and ciphers holds.
static inline bool redpool_tls_start(void) {
    return OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT | OPENSSL_INIT_LOAD_CONFIG, NULL) == 1;
}

static inline SSL_CTX *redpool_tls_context(bool is_server, int minimum) {
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (context == NULL) return NULL;
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                                  | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION
                                     | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_read_ahead(context, 0);
    if (SSL_CTX_set_min_proto_version(context, minimum) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    if (is_server) {
        // Tickets carry sessions; nothing is kept here. Without an id context a resumed handshake
        // fails where clients are verified.
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_session_id_context(context, (const unsigned char *)"redpool", 7);
        SSL_CTX_set_num_tickets(context, 1);
        SSL_CTX_set_msg_callback(context, redpool_tls_message);
        // OpenSSL takes memory for the length that a client announces.
        SSL_CTX_set_max_cert_list(context, 32 << 10);
        // Any stranger may choose the group of the key exchange, and one handshake with ffdhe8192
        // takes 90 ms. Where the system has none of these groups, its own policy stays.
        SSL_CTX_set1_groups_list(context, "X25519:P-256:X448:P-521:P-384");
        ERR_clear_error();
    } else {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, redpool_tls_new_session);
        SSL_CTX_set_client_cert_cb(context, redpool_tls_asked);
    }
    return context;
}

// The keys of session tickets of a server's context (SSL_CTX_get_tlsext_ticket_keys(3)): with them
// another program resumes the sessions. They have `redpool_tls_ticket_size`
// bytes.
enum { redpool_tls_ticket_size = 80 };

static inline bool redpool_tls_get_tickets(SSL_CTX *context, void *keys) {
    bool is_known = SSL_CTX_get_tlsext_ticket_keys(context, NULL, 0) == redpool_tls_ticket_size;
    return is_known && SSL_CTX_get_tlsext_ticket_keys(context, keys, redpool_tls_ticket_size) == 1;
}

static inline bool redpool_tls_set_tickets(SSL_CTX *context, const void *keys) {
    return SSL_CTX_set_tlsext_ticket_keys(context, (void *)keys, redpool_tls_ticket_size) == 1;
}

static inline bool redpool_tls_is_end_of_pem(void) {
    unsigned long code = ERR_peek_last_error();
    return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

// Adds the certificates of a PEM text to those that the context trusts, and on a server to the names
// that it tells clients. Returns how many, or -1 with an entry in the error queue.
static inline int redpool_tls_trust(SSL_CTX *context, const void *pem, size_t count, bool tells) {
    ERR_clear_error();
    if (count > INT32_MAX) return -1;
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    if (bio == NULL) return -1;
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    int found = 0;
    X509 *certificate;
    while ((certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
        bool added = X509_STORE_add_cert(store, certificate) == 1;
        if (added && tells) added = SSL_CTX_add_client_CA(context, certificate) == 1;
        X509_free(certificate);
        if (!added) break;
        found += 1;
    }
    BIO_free(bio);
    if (certificate != NULL || !redpool_tls_is_end_of_pem()) return -1;
    ERR_clear_error();
    return found;
}

// The SHA-256 of some bytes, which is 32 bytes long. False without memory.
static inline bool redpool_tls_digest(const void *bytes, size_t count, unsigned char *digest) {
    return EVP_Digest(bytes, count, digest, NULL, EVP_sha256(), NULL) == 1;
}

// Never asks a terminal for a passphrase.
static inline int redpool_tls_no_passphrase(char *into, int size, int is_writing, void *owner) {
    (void)into, (void)size, (void)is_writing, (void)owner;
    return -1;
}

// Sets the certificate, with the chain behind it. Returns how many there are, or -1.
static inline int redpool_tls_use_chain(SSL_CTX *context, const void *pem, size_t count) {
    ERR_clear_error();
    if (count > INT32_MAX) return -1;
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    if (bio == NULL) return -1;
    int found = 0;
    X509 *certificate;
    while ((certificate = PEM_read_bio_X509_AUX(bio, NULL, redpool_tls_no_passphrase, NULL))
           != NULL) {
        bool used = found == 0 ? SSL_CTX_use_certificate(context, certificate) == 1
                               : SSL_CTX_add1_chain_cert(context, certificate) == 1;
        X509_free(certificate);
        if (!used) break;
        found += 1;
    }
    BIO_free(bio);
    if (certificate != NULL || !redpool_tls_is_end_of_pem()) return -1;
    ERR_clear_error();
    return found;
}

// Sets the key of the certificate: 0, -1 if the text has no key that can be used, or -2 if the key
// belongs to another certificate.
static inline int redpool_tls_use_key(SSL_CTX *context, const void *pem, size_t count) {
    ERR_clear_error();
    if (count > INT32_MAX) return -1;
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    if (bio == NULL) return -1;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, redpool_tls_no_passphrase, NULL);
    BIO_free(bio);
    if (key == NULL) return -1;
    // Of a key of another kind than the certificate's, SSL_CTX_use_PrivateKey would forget the
    // certificate.
    X509 *certificate = SSL_CTX_get0_certificate(context);
    bool belongs = certificate != NULL && X509_check_private_key(certificate, key) == 1;
    int result = !belongs ? -2 : SSL_CTX_use_PrivateKey(context, key) == 1 ? 0 : -1;
    EVP_PKEY_free(key);
    return result;
}

static inline void redpool_tls_verify_peer(SSL_CTX *context, bool verifies, bool is_server) {
    int must = is_server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(context, verifies ? SSL_VERIFY_PEER | must : SSL_VERIFY_NONE, NULL);
}

// MARK: Connections

// A connection over `window`; NULL without memory.
static inline SSL *redpool_tls_new(SSL_CTX *context, BIO_METHOD *method,
                                   struct redpool_tls_window *window,
                                   struct redpool_tls_notes *notes, bool is_server) {
    ERR_clear_error();
    SSL *ssl = SSL_new(context);
    BIO *bio = ssl == NULL ? NULL : BIO_new(method);
    if (bio == NULL) {
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, window);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, notes);
    if (is_server) {
        SSL_set_accept_state(ssl);
    } else {
        SSL_set_connect_state(ssl);
    }
    return ssl;
}

// True for the text of an IPv4 or IPv6 address.
static inline bool redpool_tls_is_address(const char *name) {
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    ERR_clear_error();
    ASN1_OCTET_STRING_free(address);
    return address != NULL;
}

// Sets whom the server's certificate must name, and what is told to the server: both by one
// function, because verification without a name accepts every certificate of a public authority. A
// numeric address is verified and not told. False if that cannot be set.
static inline bool redpool_tls_expect(SSL *ssl, const char *name, bool verifies) {
    bool is_address = redpool_tls_is_address(name);
    X509_VERIFY_PARAM *parameters = SSL_get0_param(ssl);
    bool is_set = is_address || SSL_set_tlsext_host_name(ssl, name) == 1;
    if (is_set && verifies && is_address) {
        is_set = X509_VERIFY_PARAM_set1_ip_asc(parameters, name) == 1;
    } else if (is_set && verifies) {
        X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        is_set = SSL_set1_host(ssl, name) == 1;
    }
    ERR_clear_error();
    return is_set;
}

// Ends a connection's memory. The session stays usable: without the marks, SSL_free would make it
// not resumable.
static inline void redpool_tls_free(SSL *ssl, struct redpool_tls_notes *notes) {
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_set_app_data(ssl, NULL);
    SSL_free(ssl);
    SSL_SESSION_free(notes->session);
    notes->session = NULL;
    ERR_clear_error();
}

// What a call came to, where it is not a number of bytes.
enum redpool_tls_result {
    redpool_tls_wants_input = -1,  // Nothing can be done before more ciphertext has come.
    redpool_tls_ended = -2,        // The peer has said close_notify.
    redpool_tls_broken = -3,       // `error` says why. No further call may be made.
};

static inline int redpool_tls_judge(SSL *ssl, int result, struct redpool_tls_error *error) {
    switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
        redpool_tls_clear_errors();
        return redpool_tls_wants_input;
    case SSL_ERROR_ZERO_RETURN:
        redpool_tls_clear_errors();
        return redpool_tls_ended;
    default:
        redpool_tls_take_error(error);
        return redpool_tls_broken;
    }
}

// Goes on with the handshake: 1 when it is done.
static inline int redpool_tls_handshake(SSL *ssl, struct redpool_tls_error *error) {
    redpool_tls_clear_errors();
    int result = SSL_do_handshake(ssl);
    return result == 1 ? 1 : redpool_tls_judge(ssl, result, error);
}

static inline int redpool_tls_read(SSL *ssl, void *into, int count,
                                   struct redpool_tls_error *error) {
    redpool_tls_clear_errors();
    int result = SSL_read(ssl, into, count);
    return result > 0 ? result : redpool_tls_judge(ssl, result, error);
}

// Encrypts at most one record.
static inline int redpool_tls_write(SSL *ssl, const void *from, int count,
                                    struct redpool_tls_error *error) {
    redpool_tls_clear_errors();
    int result = SSL_write(ssl, from, count);
    return result > 0 ? result : redpool_tls_judge(ssl, result, error);
}

// Writes close_notify to the window. The connection must be open and not broken.
static inline void redpool_tls_close_notify(SSL *ssl) {
    ERR_clear_error();
    SSL_shutdown(ssl);
    ERR_clear_error();
}

// What the verification of the peer's certificate came to: 0, or a number and its text.
static inline long redpool_tls_verdict(SSL *ssl, const char **text) {
    long verdict = SSL_get_verify_result(ssl);
    *text = verdict == X509_V_OK ? "" : X509_verify_cert_error_string(verdict);
    return verdict;
}

// The handshake has verified a certificate of the peer, or resumes a session that has. OpenSSL ends a
// handshake in which the verification fails; this is asked all the same before it is relied on.
static inline bool redpool_tls_is_verified(SSL *ssl) {
    return SSL_get0_peer_certificate(ssl) != NULL && SSL_get_verify_result(ssl) == X509_V_OK;
}

// The peer's certificate is past its end. A resumed handshake does not look: the verdict is that of
// the first one, and with each new ticket it goes on.
static inline bool redpool_tls_has_expired(SSL *ssl) {
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    return certificate != NULL && X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0;
}

static inline bool redpool_tls_is_name_mismatch(long verdict) {
    return verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH;
}

static inline bool redpool_tls_is(const struct redpool_tls_error *error, int reason) {
    return error->library == ERR_LIB_SSL && error->reason == reason;
}

static inline bool redpool_tls_is_unverified(const struct redpool_tls_error *error) {
    return redpool_tls_is(error, SSL_R_CERTIFICATE_VERIFY_FAILED);
}

// An alert with which a server refuses a client that has shown no certificate.
static inline bool redpool_tls_is_refusal(const struct redpool_tls_error *error) {
    return redpool_tls_is(error, SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED)
        || redpool_tls_is(error, SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE)
        || redpool_tls_is(error, SSL_R_SSLV3_ALERT_BAD_CERTIFICATE);
}

// The client has shown no certificate, and must.
static inline bool redpool_tls_is_bare(const struct redpool_tls_error *error) {
    return redpool_tls_is(error, SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE);
}

// The name of the cipher in use.
static inline const char *redpool_tls_cipher(const SSL *ssl) {
    return SSL_CIPHER_get_name(SSL_get_current_cipher(ssl));
}

// When a certificate expires, in seconds since 1970; -1 if that cannot be read.
static inline int64_t redpool_tls_expiry(const X509 *certificate) {
    struct tm time;
    if (certificate == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1)
        return -1;
    return (int64_t)timegm(&time);
}

// When the peer's certificate expires.
static inline int64_t redpool_tls_peer_expiry(const SSL *ssl) {
    int64_t expiry = redpool_tls_expiry(SSL_get0_peer_certificate(ssl));
    ERR_clear_error();
    return expiry;
}

// When the first of the certificates in a PEM text expires; -1 without one.
static inline int64_t redpool_tls_first_expiry(const void *pem, size_t count) {
    ERR_clear_error();
    if (count > INT32_MAX) return -1;
    BIO *bio = BIO_new_mem_buf(pem, (int)count);
    if (bio == NULL) return -1;
    int64_t first = -1;
    X509 *certificate;
    while ((certificate = PEM_read_bio_X509_AUX(bio, NULL, redpool_tls_no_passphrase, NULL))
           != NULL) {
        int64_t expiry = redpool_tls_expiry(certificate);
        X509_free(certificate);
        if (expiry >= 0 && (first < 0 || expiry < first)) first = expiry;
    }
    BIO_free(bio);
    ERR_clear_error();
    return first;
}

// MARK: Sessions

// A session may be used while the certificate that was verified for it is valid: a resumed
// handshake shows none.
static inline bool redpool_tls_is_usable(SSL_SESSION *session) {
    X509 *certificate = SSL_SESSION_get0_peer(session);
    return SSL_SESSION_is_resumable(session) == 1 && certificate != NULL
        && X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

// A server of TLS 1.2 gives no new session when one is resumed, so the old one is used again. Of TLS
// 1.3 each is used once, so that nobody who listens can tell that two connections are ours (RFC 8446,
// C.4).
static inline bool redpool_tls_is_reusable(const SSL_SESSION *session) {
    return SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION;
}

static inline bool redpool_tls_set_session(SSL *ssl, SSL_SESSION *session) {
    ERR_clear_error();
    bool is_set = SSL_set_session(ssl, session) == 1;
    ERR_clear_error();
    return is_set;
}

#endif
