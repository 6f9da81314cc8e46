// The floor: the least that a multiplexing Redis proxy can do. Raw epoll, one thread, one upstream:
// frames commands, pipelines those of all clients, frames the replies, hands them out. None of a
// proxy's duties: no states of connections, no limits, no deadlines, no second upstream, no errors.
//
//   floor UPSTREAM LISTEN...      each a port on 127.0.0.1 or the path of a unix socket
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// Frames: how many elements and bytes are still to come, and a header line that came in part.
struct frame {
    int64_t pending, skip;
    int length;
    char line[64];
};

struct connection {
    int fd, is_listener, is_dirty, watches_write;
    unsigned generation;
    struct frame frame;
    char *out;
    size_t out_length, out_sent, out_room;
    char *partial;  // a command that has not come whole
    size_t partial_length;
};

struct flight {
    int fd;
    unsigned generation;
};

enum { MAX_FD = 65536, MAX_FLIGHT = 1 << 20, BUFFER = 256 * 1024 };
static struct connection table[MAX_FD];
static struct flight flights[MAX_FLIGHT];
static unsigned flight_head, flight_tail;
static int dirty[MAX_FD], dirty_count, poll_fd, upstream;
static char input[BUFFER];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

// Takes bytes up to the end of the first frame or of the bytes; sets `complete` at the former.
static size_t scan(struct frame *frame, const char *bytes, size_t count, int *complete) {
    const char *at = bytes, *end = bytes + count;
    *complete = 0;
    while (at < end) {
        if (frame->skip) {
            int64_t part = end - at < frame->skip ? end - at : frame->skip;
            at += part;
            frame->skip -= part;
        } else {
            if (!frame->pending) frame->pending = 1;
            char c = *at++;
            if (c != '\n') {
                if (frame->length < 63) frame->line[frame->length++] = c;
                continue;
            }
            int64_t number = 0;
            for (int i = 1; i < frame->length && frame->line[i] >= '0'; i++)
                number = number * 10 + frame->line[i] - '0';
            if (frame->line[1] == '-') number = -1;
            frame->pending--;
            if (frame->line[0] == '*' && number > 0) frame->pending += number;
            if (frame->line[0] == '$' && number >= 0) frame->skip = number + 2;
            frame->length = 0;
        }
        if (!frame->pending && !frame->skip) {
            *complete = 1;
            break;
        }
    }
    return (size_t)(at - bytes);
}

static void append(struct connection *to, const char *bytes, size_t count) {
    if (to->out_length + count > to->out_room) {
        to->out_room = (to->out_length + count) * 2;
        if (!(to->out = realloc(to->out, to->out_room))) fail("realloc");
    }
    memcpy(to->out + to->out_length, bytes, count);
    to->out_length += count;
    if (!to->is_dirty) dirty[dirty_count++] = to->fd, to->is_dirty = 1;
}

static void watch(struct connection *one, int operation, int write) {
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.fd = one->fd};
    if (epoll_ctl(poll_fd, operation, one->fd, &event) < 0) fail("epoll_ctl");
    one->watches_write = write;
}

static struct connection *enter(int fd) {
    struct connection *one = &table[fd];
    unsigned generation = one->generation + 1;
    memset(one, 0, sizeof *one);
    one->fd = fd;
    one->generation = generation;
    watch(one, EPOLL_CTL_ADD, 0);
    return one;
}

static void leave(struct connection *one) {
    if (one->fd == upstream) fail("the upstream is gone");
    close(one->fd);
    free(one->out);
    free(one->partial);
    one->out = one->partial = NULL;
    one->out_length = one->out_sent = one->out_room = one->partial_length = 0;
    one->generation++;
}

static void flush(struct connection *to) {
    to->is_dirty = 0;
    if (to->out_sent == to->out_length) return;
    ssize_t n = send(to->fd, to->out + to->out_sent, to->out_length - to->out_sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) {
        leave(to);
        return;
    }
    to->out_sent += n > 0 ? (size_t)n : 0;
    int left = to->out_sent < to->out_length;
    if (left != to->watches_write) watch(to, EPOLL_CTL_MOD, left);
    if (left) return;
    to->out_sent = to->out_length = 0;
    // An idle client owns nothing; the upstream keeps its buffer.
    if (to->fd != upstream) free(to->out), to->out = NULL, to->out_room = 0;
}

static void from_client(struct connection *client, size_t count) {
    size_t at = 0, whole = 0;
    int complete;
    while (at < count) {
        at += scan(&client->frame, input + at, count - at, &complete);
        if (!complete) break;
        whole = at;
        flights[flight_tail++ % MAX_FLIGHT] = (struct flight){client->fd, client->generation};
    }
    if (whole && client->partial_length) {
        append(&table[upstream], client->partial, client->partial_length);
        free(client->partial);
        client->partial = NULL;
        client->partial_length = 0;
    }
    if (whole) append(&table[upstream], input, whole);
    if (whole == count) return;
    client->partial = realloc(client->partial, client->partial_length + count - whole);
    if (!client->partial) fail("realloc");
    memcpy(client->partial + client->partial_length, input + whole, count - whole);
    client->partial_length += count - whole;
}

// Consecutive replies of one client go to it in one piece.
static void from_upstream(struct connection *server, size_t count) {
    size_t begin = 0, at = 0;
    int complete;
    while (at < count) {
        struct flight owner = flights[flight_head % MAX_FLIGHT];
        at += scan(&server->frame, input + at, count - at, &complete);
        flight_head += (unsigned)complete;
        struct flight next = flights[flight_head % MAX_FLIGHT];
        if (at < count && next.fd == owner.fd && next.generation == owner.generation) continue;
        if (table[owner.fd].generation == owner.generation)
            append(&table[owner.fd], input + begin, at - begin);
        begin = at;
    }
}

static void readable(struct connection *one) {
    if (one->is_listener) {
        int fd, yes = 1;
        while ((fd = accept4(one->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            enter(fd);
        }
        return;
    }
    ssize_t n = recv(one->fd, input, sizeof input, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) leave(one);
    else if (one->fd == upstream) from_upstream(one, (size_t)n);
    else from_client(one, (size_t)n);
}

// A socket at `place`, connected or listening.
static int open_socket(const char *place, int listening) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(place))};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int is_unix = strchr(place, '/') != NULL, yes = 1;
    strncpy(un.sun_path, place, sizeof un.sun_path - 1);
    void *address = is_unix ? (void *)&un : (void *)&in;
    socklen_t length = is_unix ? sizeof un : sizeof in;
    int fd = socket(
        is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | (listening ? SOCK_NONBLOCK : 0), 0);
    if (listening) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        if (bind(fd, address, length) < 0 || listen(fd, 4096) < 0) fail(place);
    } else {
        if (connect(fd, address, length) < 0) fail(place);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    }
    return fd;
}

int main(int count, char **words) {
    if (count < 3) fail("floor UPSTREAM LISTEN...");
    poll_fd = epoll_create1(0);
    upstream = open_socket(words[1], 0);
    enter(upstream);
    for (int i = 2; i < count; i++) {
        int fd = open_socket(words[i], 1);
        enter(fd)->is_listener = 1;
    }
    struct epoll_event events[1024];
    for (;;) {
        int n = epoll_wait(poll_fd, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            struct connection *one = &table[events[i].data.fd];
            if (events[i].events & EPOLLOUT) flush(one);
            if (events[i].events & ~(uint32_t)EPOLLOUT) readable(one);
        }
        for (int i = 0; i < dirty_count; i++) flush(&table[dirty[i]]);
        dirty_count = 0;
    }
}
