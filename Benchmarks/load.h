// Of the load generator (load.c): what is sent, and sockets.
#pragma once
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/ssl.h>
#endif
#include "slots.h"
#include "timing.h"

enum mode { MIX, RATE, SHORT, MULTI, STEPS, QUEUE, MGET };
static const char *const mode_names[] = {
    "mix", "rate", "short", "multi", "steps", "queue", "mget"};
enum { RING = 4096, MOST_NODES = 16, KEYS_OF_MGET = 10 };

// Bytes to send: commands whose keys are filled in before every use, always of the same length.
struct batch {
    char *bytes;
    size_t length;
    int replies;
    int keys;
    size_t *key_at;
};

struct client {
    int fd;
    int number;
    int step;          // which batch of the mode comes next
    int connecting;
    int waiting;       // replies still to come
    const struct batch *sending;
    size_t sent;       // of `sending`, when the socket is full
    int watches_write;
    int64_t started;
    int64_t pending;   // elements of the current reply still to come, 0 = none begun
    int64_t skip;      // bytes of a bulk still to come
    char line[64];
    int line_length;
    int64_t *ring;     // RATE: intended times of what is in flight
    unsigned ring_head, ring_tail;
    int busy;          // of the first connection to a cluster: how many have replies to come
    struct batch part; // to a cluster: what of the batch this connection's node gets
#ifdef TLS
    SSL *tls;
#endif
};

static enum mode mode = MIX;
// Each client has a connection to every node, in the order of all clients' nodes.
static int ports[MOST_NODES], nodes = 1;
static int clients = 50, pipeline = 1, value_size = 16, key_count = 1000;
static int one_of;         // only keys of the first of so many nodes
static int use_tls, resumes, waits;
static int64_t total = 100000, rate = 20000;
static const char *path, *password;
static int poll_fd;
static struct client *all;
static struct batch batches[8];
static int64_t begun, done, commands_done, resumed;
static uint64_t seed = 88172645463325252ull;
static char input[256 * 1024];
#ifdef TLS
static SSL_CTX *tls_context;
static SSL_SESSION *last_session;   // the newest ticket, for the next connection
#endif

// --- what is sent

static void add(struct batch *batch, const char *bytes, size_t count) {
    batch->bytes = realloc(batch->bytes, batch->length + count);
    if (!batch->bytes) fail("out of memory");
    memcpy(batch->bytes + batch->length, bytes, count);
    batch->length += count;
}

static void add_text(struct batch *batch, const char *text) { add(batch, text, strlen(text)); }

static void add_bulk(struct batch *batch, const char *bytes, size_t count) {
    char head[32];
    add(batch, head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", count));
    add(batch, bytes, count);
    add_text(batch, "\r\n");
}

static void add_key(struct batch *batch) {
    batch->key_at = realloc(batch->key_at, (size_t)(batch->keys + 1) * sizeof *batch->key_at);
    if (!batch->key_at) fail("out of memory");
    add_text(batch, "$16\r\nkey:");
    batch->key_at[batch->keys++] = batch->length;
    add_text(batch, "000000000000\r\n");
}

static void add_get(struct batch *batch) {
    add_text(batch, "*2\r\n$3\r\nGET\r\n");
    add_key(batch);
    batch->replies++;
}

static void add_set(struct batch *batch) {
    char *value = malloc((size_t)value_size);
    if (!value) fail("out of memory");
    memset(value, 'v', (size_t)value_size);
    add_text(batch, "*3\r\n$3\r\nSET\r\n");
    add_key(batch);
    add_bulk(batch, value, (size_t)value_size);
    batch->replies++;
    free(value);
}

static void add_mget(struct batch *batch) {
    char head[32];
    add(batch, head, (size_t)snprintf(head, sizeof head, "*%d\r\n", KEYS_OF_MGET + 1));
    add_text(batch, "$4\r\nMGET\r\n");
    for (int i = 0; i < KEYS_OF_MGET; i++) add_key(batch);
    batch->replies++;
}

static void add_words(struct batch *batch, int count, const char *const *words) {
    char head[32];
    add(batch, head, (size_t)snprintf(head, sizeof head, "*%d\r\n", count));
    for (int i = 0; i < count; i++) add_bulk(batch, words[i], strlen(words[i]));
    batch->replies++;
}

static void add_word(struct batch *batch, const char *word) { add_words(batch, 1, &word); }

// The batches of a mode, sent in turn; the number of them.
static int prepare(void) {
    switch (mode) {
    case MIX:
    case RATE:
        for (int i = 0; i < (mode == RATE ? 1 : pipeline); i++) {
            add_set(&batches[0]);
            add_get(&batches[1]);
        }
        return 2;
    case SHORT: {
        int n = 0;
        if (password) add_words(&batches[n++], 2, (const char *const[]){"AUTH", password});
        add_set(&batches[n++]);
        add_get(&batches[n++]);
        add_get(&batches[n++]);
        return n;
    }
    case MULTI:
    case STEPS: {
        int apart = mode == STEPS, n = 0;
        add_word(&batches[n], "MULTI");
        add_set(&batches[n += apart]);
        add_get(&batches[n += apart]);
        add_get(&batches[n += apart]);
        add_word(&batches[n += apart], "EXEC");
        return n + 1;
    }
    case QUEUE:
        return 2;
    case MGET:
        // The ten keys are in ten slots, so to the nodes themselves these are ten commands.
        if (nodes == 1) add_mget(&batches[0]);
        else for (int i = 0; i < KEYS_OF_MGET; i++) add_get(&batches[0]);
        return 1;
    }
    return 0;
}

// A queue's commands name the list of the pair; they are made anew for each client.
static struct batch *queue_batch(struct client *client) {
    static struct batch *made;
    if (!made && !(made = calloc((size_t)clients, sizeof *made))) fail("out of memory");
    struct batch *batch = &made[client->number];
    if (!batch->length) {
        char list[32];
        snprintf(list, sizeof list, "queue:%d", client->number / 2);
        if (client->number % 2) add_words(batch, 3, (const char *const[]){"LPUSH", list, "job"});
        else add_words(batch, 3, (const char *const[]){"BLPOP", list, "0"});
    }
    return batch;
}

static uint64_t some_number(void) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

static void fill_keys(const struct batch *batch) {
    uint64_t first = 0;
    for (int i = 0; i < batch->keys; i++) {
        char *digits = &batch->bytes[batch->key_at[i]];
        do {
            uint64_t key = some_number() % (uint64_t)key_count;
            // Keys that differ in the last digit only are never in the same slot.
            if (mode == MGET) key = i ? first + (uint64_t)i : (first = key / 10 * 10);
            for (int digit = KEY_DIGITS - 1; digit >= 0; digit--, key /= 10)
                digits[digit] = (char)('0' + key % 10);
        } while (one_of && node_of(slot_of(digits), one_of));
    }
}

// --- sockets

static void watch(struct client *client, int write, int operation) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = client};
    if (epoll_ctl(poll_fd, operation, client->fd, &event) < 0) fail("epoll_ctl");
    client->watches_write = write;
}

static ssize_t transmit(struct client *client, const char *bytes, size_t count) {
#ifdef TLS
    if (client->tls) {
        int n = SSL_write(client->tls, bytes, (int)count);
        if (n > 0) return n;
        // The handshake goes on when its next part has been read.
        if (SSL_get_error(client->tls, n) == SSL_ERROR_WANT_READ) return 0;
        errno = SSL_get_error(client->tls, n) == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
        return -1;
    }
#endif
    return send(client->fd, bytes, count, MSG_NOSIGNAL);
}

static ssize_t receive(struct client *client) {
#ifdef TLS
    if (client->tls) {
        int n = SSL_read(client->tls, input, sizeof input);
        if (n > 0) return n;
        int error = SSL_get_error(client->tls, n);
        if (error == SSL_ERROR_ZERO_RETURN) return 0;
        errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
        return -1;
    }
#endif
    return recv(client->fd, input, sizeof input, 0);
}

static void push(struct client *client) {
    const struct batch *batch = client->sending;
    while (client->sent < batch->length) {
        ssize_t n = transmit(client, batch->bytes + client->sent, batch->length - client->sent);
        if (n < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
            if (!client->watches_write) watch(client, 1, EPOLL_CTL_MOD);
            return;
        }
        if (n < 0) fail("send");
        if (n == 0) return;
        client->sent += (size_t)n;
    }
    client->sending = NULL;
    if (client->watches_write) watch(client, 0, EPOLL_CTL_MOD);
}

static void start_batch(struct client *client, const struct batch *batch) {
    fill_keys(batch);
    client->sending = batch;
    client->sent = 0;
    client->waiting += batch->replies;
    push(client);
}

// Sends each command of a batch to its node. All of them have one key and are equally long.
static void start_parts(struct client *first, const struct batch *batch) {
    size_t length = batch->length / (size_t)batch->replies;
    fill_keys(batch);
    for (int i = 0; i < nodes; i++) first[i].part.length = 0, first[i].part.replies = 0;
    for (int i = 0; i < batch->replies; i++) {
        struct batch *part = &first[node_of(slot_of(&batch->bytes[batch->key_at[i]]), nodes)].part;
        memcpy(part->bytes + part->length, batch->bytes + (size_t)i * length, length);
        part->length += length;
        part->replies++;
    }
    first->busy = 0;
    for (int i = 0; i < nodes; i++) first->busy += first[i].part.replies > 0;
    for (int i = 0; i < nodes; i++)
        if (first[i].part.replies) start_batch(&first[i], &first[i].part);
}

static void open_client(struct client *client) {
    int family = path ? AF_UNIX : AF_INET, one = 1;
    client->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0) fail("socket");
    int outcome;
    if (path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, path, sizeof address.sun_path - 1);
        // A full backlog of a unix socket is EAGAIN, and there is nothing to wait on.
        while ((outcome = connect(client->fd, (void *)&address, sizeof address)) < 0
               && errno == EAGAIN) usleep(100);
    } else {
        int port = ports[client->number % nodes];
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        outcome = connect(client->fd, (void *)&address, sizeof address);
    }
    if (outcome < 0 && errno != EINPROGRESS) fail("connect");
    client->connecting = outcome < 0;
    client->watches_write = 0;
    client->step = 0;
    watch(client, client->connecting, EPOLL_CTL_ADD);
#ifdef TLS
    if (use_tls) {
        client->tls = SSL_new(tls_context);
        SSL_set_fd(client->tls, client->fd);
        SSL_set_connect_state(client->tls);
        SSL_set_mode(client->tls,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        if (last_session && !SSL_set_session(client->tls, last_session)) fail("SSL_set_session");
    }
#endif
}

static void close_client(struct client *client) {
#ifdef TLS
    if (client->tls) {
        resumed += SSL_session_reused(client->tls);
        if (resumes) {
            SSL_SESSION_free(last_session);
            last_session = SSL_get1_session(client->tls);
            // A session whose connection has not been ended in order is not resumed.
            SSL_set_shutdown(client->tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        }
        SSL_free(client->tls);
        client->tls = NULL;
    }
#endif
    close(client->fd);
}
