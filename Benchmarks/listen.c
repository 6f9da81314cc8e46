// Listeners and a publisher, to measure what messages to many subscribers cost: one thread, raw
// epoll, no library.
//
//   listen -h port -p port [-c listeners] [-C channels] [-P pipeline] [-d bytes]
//
// The listeners (RESP2) subscribe at the port -h, each to one of the channels, in turn; messages are
// published at the port -p, which is the server's own. Says `ready` when all are confirmed. Then it
// takes lines of two numbers: how many batches to publish, and how many microseconds lie between
// the beginnings of two (0: none). A batch is -P messages to one channel in one write, the channels
// in turn; the next one begins when all listeners have the last one. Each line is answered by a line
// of JSON; latencies are microseconds from before a batch is sent until the last listener has it.
//
// Every byte of every message is compared with what has been published: each listener has to get
// each message of its channel once, in order. At the end of input all send PING, so nothing else may
// have come before its answer. Anything else ends the run.
#include "timing.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

// A message begins with its number, in so many digits. So many listeners subscribe at a time.
enum { DIGITS = 8, AT_ONCE = 100, PATIENCE_MS = 60000 };
static const char PONG[] = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";

struct channel {
    char name[16];
    char *frame;        // the message with the number `shown`, as listeners get it
    size_t length;
    int64_t shown, published;
    int listeners;
};

struct listener {
    int fd;
    struct channel *channel;
    int64_t next;       // the number of the message that comes next, or of which a part has come
    size_t taken;       // the bytes of it that have come
};

static int port, server_port, count = 1000, channel_count = 1, pipeline = 1, size = 100;
static int poll_fd, publisher;
static struct listener *all;
static struct channel *channels;
static int64_t batches_sent, due, replies_due, receivers;
static char input[256 * 1024];

static void refuse(const char *what) {
    errno = 0;
    fail(what);
}

// --- sockets

static int open_socket(int at) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) fail("socket");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)at)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    // An end by reset leaves no TIME_WAIT behind: thousands of those would use up the ports.
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    if (connect(fd, (void *)&address, sizeof address) < 0) fail("connect");
    return fd;
}

static void send_all(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0) fail("send");
        bytes += n;
        length -= (size_t)n;
    }
}

// Reads what has to come next, and nothing else may.
static void expect(int fd, const char *bytes, size_t length, const char *what) {
    char got[256];
    for (size_t taken = 0; taken < length;) {
        ssize_t n = recv(fd, got, length - taken, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) fail(what);
        if (n == 0 || memcmp(got, bytes + taken, (size_t)n)) refuse(what);
        taken += (size_t)n;
    }
}

static void watch(int fd, void *whose) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = whose};
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

// --- channels and their messages

static void write_number(char *digits, int64_t number) {
    for (int at = DIGITS - 1; at >= 0; at--, number /= 10) digits[at] = (char)('0' + number % 10);
}

// The frame with the number of a message.
static const char *show(struct channel *channel, int64_t number) {
    if (channel->shown != number)
        write_number(channel->frame + channel->length - 2 - size, channel->shown = number);
    return channel->frame;
}

static void fill(char *payload) {
    write_number(payload, 0);
    // Bytes that depend on their place: a part that is lost or comes twice shows.
    for (int at = DIGITS; at < size; at++) payload[at] = (char)('a' + at % 23);
}

static void prepare(void) {
    char *payload = malloc((size_t)size);
    channels = calloc((size_t)channel_count, sizeof *channels);
    all = calloc((size_t)count, sizeof *all);
    if (!payload || !channels || !all) fail("out of memory");
    fill(payload);
    for (int i = 0; i < channel_count; i++) {
        struct channel *channel = &channels[i];
        int named = snprintf(channel->name, sizeof channel->name, "channel:%d", i);
        if (!(channel->frame = malloc((size_t)size + 128))) fail("out of memory");
        int head = sprintf(channel->frame, "*3\r\n$7\r\nmessage\r\n$%d\r\n%s\r\n$%d\r\n", named,
                           channel->name, size);
        memcpy(channel->frame + head, payload, (size_t)size);
        memcpy(channel->frame + head + size, "\r\n", 2);
        channel->length = (size_t)(head + size + 2);
    }
    free(payload);
}

static void subscribe(struct listener *first, int many) {
    char words[128];
    for (int i = 0; i < many; i++) {
        const char *name = first[i].channel->name;
        int length = snprintf(words, sizeof words, "*2\r\n$9\r\nSUBSCRIBE\r\n$%zu\r\n%s\r\n",
                              strlen(name), name);
        first[i].fd = open_socket(port);
        send_all(first[i].fd, words, (size_t)length);
    }
    for (int i = 0; i < many; i++) {
        const char *name = first[i].channel->name;
        int length = snprintf(words, sizeof words, "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%s\r\n:1\r\n",
                              strlen(name), name);
        expect(first[i].fd, words, (size_t)length, "not the confirmation of SUBSCRIBE");
        watch(first[i].fd, &first[i]);
    }
}

static void subscribe_all(void) {
    for (int i = 0; i < count; i++) {
        all[i].channel = &channels[i % channel_count];
        all[i].channel->listeners++;
    }
    for (int i = 0; i < count; i += AT_ONCE)
        subscribe(&all[i], count - i < AT_ONCE ? count - i : AT_ONCE);
}

// --- messages

static void publish(void) {
    static char *bytes;
    struct channel *channel = &channels[batches_sent++ % channel_count];
    if (!bytes && !(bytes = malloc((size_t)pipeline * ((size_t)size + 128))))
        fail("out of memory");
    char *end = bytes;
    for (int i = 0; i < pipeline; i++) {
        end += sprintf(end, "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n%s\r\n$%d\r\n", strlen(channel->name),
                       channel->name, size);
        const char *frame = show(channel, channel->published++);
        memcpy(end, frame + channel->length - 2 - size, (size_t)size + 2);
        end += size + 2;
    }
    due = (int64_t)pipeline * channel->listeners;
    replies_due = pipeline;
    send_all(publisher, bytes, (size_t)(end - bytes));
}

// Compares what has come with what was published.
static void take(struct listener *listener, const char *bytes, size_t length) {
    struct channel *channel = listener->channel;
    while (length) {
        if (listener->next == channel->published) refuse("a listener has got more than all");
        const char *frame = show(channel, listener->next);
        size_t part = channel->length - listener->taken;
        if (part > length) part = length;
        if (memcmp(frame + listener->taken, bytes, part)) {
            fprintf(stderr, "listen: listener %td, instead of message %lld: %.*s\n",
                    listener - all, (long long)listener->next, (int)part, bytes);
            refuse("a listener has got something else than what is next");
        }
        listener->taken += part;
        bytes += part;
        length -= part;
        if (listener->taken < channel->length) return;
        listener->taken = 0;
        listener->next++;
        due--;
    }
}

// Takes the replies to PUBLISH: the number of the server's own subscribers.
static void take_replies(const char *bytes, size_t length) {
    static int64_t number;
    for (; length; bytes++, length--) {
        if (*bytes >= '0' && *bytes <= '9') {
            number = number * 10 + (*bytes - '0');
        } else if (*bytes == '\n') {
            receivers += number;
            number = 0;
            if (--replies_due < 0) refuse("a reply too many to PUBLISH");
        } else if (*bytes != ':' && *bytes != '\r') {
            refuse("PUBLISH is refused");
        }
    }
}

static void read_some(struct listener *listener) {
    ssize_t n = recv(listener ? listener->fd : publisher, input, sizeof input, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) fail("recv");
    if (n == 0) refuse(listener ? "a listener was closed" : "the publisher was closed");
    if (listener) take(listener, input, (size_t)n);
    else take_replies(input, (size_t)n);
}

static int wait_for(struct epoll_event *events, int most, int64_t timeout_ms) {
    int n = epoll_wait(poll_fd, events, most, (int)timeout_ms);
    if (n < 0 && errno != EINTR) fail("epoll_wait");
    return n;
}

// Publishes a batch, and waits until all have it.
static void deliver(void) {
    struct epoll_event events[512];
    int64_t begun = now_ns(), arrived = begun;
    publish();
    while (due || replies_due) {
        int64_t before = due;
        int n = wait_for(events, 512, PATIENCE_MS);
        if (n == 0) {
            fprintf(stderr, "listen: %lld deliveries are missing\n", (long long)due);
            refuse("nothing has come for a minute");
        }
        for (int i = 0; i < n; i++) read_some(events[i].data.ptr);
        if (before && !due) arrived = now_ns();
    }
    record(arrived - begun);
}

// Reads what should not be there until a time has come.
static void wait_until(int64_t when) {
    struct epoll_event event;
    for (int64_t left; (left = when - now_ns()) > 0;)
        if (wait_for(&event, 1, left / 1000000 + 1) > 0) read_some(event.data.ptr);
}

static void run(int64_t batches, int64_t interval_us) {
    memset(buckets, 0, sizeof buckets);
    receivers = 0;
    double cpu = cpu_seconds();
    int64_t begun = now_ns(), delivered = 0;
    for (int64_t i = 0; i < batches; i++) {
        if (interval_us) wait_until(begun + i * interval_us * 1000);
        delivered += (int64_t)pipeline * channels[batches_sent % channel_count].listeners;
        deliver();
    }
    printf("{\"messages\": %lld, \"delivered\": %lld, \"receivers\": %lld, \"seconds\": %.6f, "
           "\"cpu\": %.6f, \"p50\": %.1f, \"p99\": %.1f}\n",
           (long long)batches * pipeline, (long long)delivered, (long long)receivers,
           (double)(now_ns() - begun) / 1e9, cpu_seconds() - cpu, percentile(0.5),
           percentile(0.99));
    if (fflush(stdout)) fail("stdout");
}

// The answer to PING comes behind all messages.
static void check_end(void) {
    for (int i = 0; i < count; i++) send_all(all[i].fd, "*1\r\n$4\r\nPING\r\n", 14);
    for (int i = 0; i < count; i++) {
        if (all[i].next != all[i].channel->published) refuse("a listener has not got all");
        expect(all[i].fd, PONG, sizeof PONG - 1, "more has come than was published");
    }
    puts("ended");
}

static void read_options(int words_count, char **words) {
    for (int option; (option = getopt(words_count, words, "h:p:c:C:P:d:")) != -1;) {
        switch (option) {
        case 'h': port = atoi(optarg); break;
        case 'p': server_port = atoi(optarg); break;
        case 'c': count = atoi(optarg); break;
        case 'C': channel_count = atoi(optarg); break;
        case 'P': pipeline = atoi(optarg); break;
        case 'd': size = atoi(optarg); break;
        default: port = server_port = 0;
        }
    }
    if (!port || !server_port || size < DIGITS || count < channel_count
        || channel_count < 1 || pipeline < 1) {
        fprintf(stderr, "listen: see the first lines of listen.c\n");
        exit(64);
    }
}

int main(int words_count, char **words) {
    read_options(words_count, words);
    if ((poll_fd = epoll_create1(0)) < 0) fail("epoll_create1");
    prepare();
    subscribe_all();
    publisher = open_socket(server_port);
    watch(publisher, NULL);
    if (puts("ready") < 0 || fflush(stdout)) fail("stdout");
    long long batches, interval_us;
    while (scanf("%lld %lld", &batches, &interval_us) == 2) run(batches, interval_us);
    check_end();
    return 0;
}
