// A load generator for Redis that costs little itself: one thread, raw epoll, no library.
//
//   load [-h port,... | -s path] [-m mode] [-c clients] [-P pipeline] [-d bytes] [-k keys]
//        [-n commands] [-r per second] [-a password] [-O nodes] [-T | -R] [-w]
//
// Modes: `mix` SET and GET batches in turn; `rate` the same one by one at a fixed rate, however late
// the replies are; `short` connect, SET, GET, GET, close, with AUTH if there is a password;
// `multi` MULTI, three commands, EXEC in one write; `steps` the same, waiting for each reply;
// `queue` half of the clients BLPOP what the other half LPUSH;
// `mget` MGET of ten keys in ten slots.
// Several ports are the nodes of a cluster that share the slots evenly and in order: each client
// has a connection to every one, and sends each command to the node of its key (`mix`, `mget`).
// -O takes only keys of the first of so many nodes (not with `mget`). -T speaks TLS (built with
// -DTLS) and verifies no certificate. -R does as well, and resumes the session of an earlier
// connection. -w says `ready` when all are connected, and waits for a line before it begins.
//
// Prints one line of JSON; latencies are microseconds from the (intended) time of sending to the end
// of the last reply of a batch, a session or a transaction. An error reply ends the run.
#include "load.h"

// --- replies

// Takes a whole header line; how many bytes of a bulk follow it (with their CRLF), or 0.
static int64_t take_line(struct client *client) {
    client->line[client->line_length] = 0;
    client->line_length = 0;
    char kind = client->line[0];
    int64_t number = strtoll(client->line + 1, NULL, 10);
    client->pending--;
    if (kind == '-') {
        fprintf(stderr, "load: the server says %s\n", client->line);
        exit(1);
    }
    if (kind == '*' && number > 0) client->pending += number;
    return kind == '$' && number >= 0 ? number + 2 : 0;
}

// Takes `count` bytes that have come; how many replies they complete.
static int take(struct client *client, const char *bytes, size_t count) {
    int complete = 0;
    for (const char *end = bytes + count; bytes < end;) {
        if (client->skip) {
            int64_t part = end - bytes < client->skip ? end - bytes : client->skip;
            bytes += part;
            client->skip -= part;
        } else {
            if (!client->pending) client->pending = 1;
            const char *stop = memchr(bytes, '\n', (size_t)(end - bytes));
            for (const char *until = stop ? stop : end; bytes < until; bytes++)
                if (client->line_length < (int)sizeof client->line - 1)
                    client->line[client->line_length++] = *bytes;
            if (!stop) return complete;
            bytes++;
            client->skip = take_line(client);
        }
        if (!client->pending && !client->skip) complete++;
    }
    return complete;
}

// --- what the clients do

static int steps;

static void next_batch(struct client *client) {
    if (mode == QUEUE) start_batch(client, queue_batch(client));
    else if (nodes > 1) start_parts(client, &batches[client->step]);
    else start_batch(client, &batches[client->step]);
}

// One more unit of work, if there is one left: a batch, a session, a transaction, a job.
static void begin(struct client *client) {
    if (begun >= total) return;
    begun++;
    client->started = now_ns();
    if (mode == SHORT) open_client(client);
    if (!client->connecting) next_batch(client);
}

// A job is pushed when its popper waits, and a popper asks when it has got the last one.
static void queue_step(struct client *client) {
    if (client->number % 2) return;
    record(now_ns() - client->started);
    done++;
    if (begun >= total) return;
    begin(client);
    next_batch(client + 1);
}

static void batch_done(struct client *client) {
    if (mode == QUEUE) {
        queue_step(client);
        return;
    }
    if (mode == MIX) {
        client->step ^= 1;
    } else if (++client->step < steps) {
        next_batch(client);
        return;
    } else {
        client->step = 0;
    }
    record(now_ns() - client->started);
    done++;
    if (mode == SHORT) close_client(client);
    begin(client);
}

// A client's batch is done when its connections to all nodes have their replies.
static void answered(struct client *client) {
    struct client *first = client - client->number % nodes;
    if (nodes == 1 || !--first->busy) batch_done(first);
}

static void rate_reply(struct client *client) {
    record(now_ns() - client->ring[client->ring_head++ % RING]);
    done++;
}

static int readable(struct client *client) {
    ssize_t n = receive(client);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) fail("the connection was closed");
    int complete = take(client, input, (size_t)n);
    commands_done += complete;
    client->waiting -= complete;
    if (client->waiting < 0) fail("a reply too many");
    if (mode == RATE) while (complete--) rate_reply(client);
    else if (complete && !client->waiting) answered(client);
    return 1;
}

// Sends what has become due on the clients in turn.
static void tick(int timer, int64_t origin) {
    uint64_t expired;
    if (read(timer, &expired, sizeof expired) != sizeof expired) return;
    for (; expired && begun < total; expired--, begun++) {
        struct client *client = &all[begun % clients];
        if (client->ring_tail - client->ring_head >= RING) fail("the rate is too high to follow");
        client->ring[client->ring_tail++ % RING] = origin + (begun + 1) * (1000000000 / rate);
        // What is still being sent goes first; at these sizes a socket is never full for long.
        while (client->sending) push(client);
        start_batch(client, &batches[(begun / clients) % 2]);
    }
}

static struct timespec time_of(int64_t ns) {
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

// Expires for the first time one period after `origin`, however long it takes to get going: what is
// due is counted from there.
static int start_timer(int64_t origin) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int64_t period = 1000000000 / rate;
    struct itimerspec spec = {
        .it_interval = time_of(period), .it_value = time_of(origin + period)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (timer < 0 || timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL) < 0) fail("timerfd");
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer, &event) < 0) fail("epoll_ctl");
    return timer;
}

static void serve(struct client *client, uint32_t events) {
    if (events & EPOLLOUT) {
        if (client->connecting) {
            client->connecting = 0;
            if (mode == SHORT && !client->sending) next_batch(client);
        }
        if (client->sending) push(client);
        else if (client->watches_write) watch(client, 0, EPOLL_CTL_MOD);
    }
    if (!(events & ~(uint32_t)EPOLLOUT)) return;
#ifdef TLS
    // TLS may hold more than the socket shows: read until it has no more.
    if (client->tls) {
        int fd = client->fd;
        while (readable(client) && client->fd == fd && client->tls
               && SSL_has_pending(client->tls)) continue;
        if (client->fd == fd && client->tls && client->sending) push(client);
        return;
    }
#endif
    readable(client);
}

static void serve_all(int timer, int64_t origin) {
    struct epoll_event events[512];
    while (done < total) {
        int n = epoll_wait(poll_fd, events, 512, 30000);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        if (n == 0) fail("nothing has come for 30 s");
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) serve(events[i].data.ptr, events[i].events);
            else tick(timer, origin);
        }
    }
}

// Before the first session ends there is nothing to resume, so it goes alone.
static void first_session(void) {
    int64_t all_of_them = total;
    total = 1;
    begin(&all[0]);
    serve_all(-1, 0);
    total = all_of_them;
}

static void run(void) {
    int64_t origin = now_ns();
    int timer = mode == RATE ? start_timer(origin) : -1;
    if (mode == SHORT && resumes) first_session();
    for (int i = 0; i < clients && mode != RATE; i++) {
        if (mode == QUEUE && i % 2) next_batch(&all[i]);
        else begin(&all[i * nodes]);
    }
    serve_all(timer, origin);
}

// The handshakes are no part of what is measured, but for short sessions.
static void shake_hands(struct client *client) {
#ifdef TLS
    while (client->tls) {
        int result = SSL_do_handshake(client->tls);
        if (result == 1) return;
        if (SSL_get_error(client->tls, result) != SSL_ERROR_WANT_READ) fail("the handshake failed");
        struct pollfd wait = {.fd = client->fd, .events = POLLIN};
        if (poll(&wait, 1, 30000) <= 0) fail("a handshake takes too long");
    }
#else
    (void)client;
#endif
}

static void connect_all(void) {
    for (int i = 0; i < clients * nodes; i++) {
        all[i].number = i;
        // All of a batch may be for one node. `mix` has its longest commands first.
        if (nodes > 1 && !(all[i].part.bytes = malloc(batches[0].length))) fail("malloc");
        if (mode == RATE && !(all[i].ring = calloc(RING, sizeof *all[i].ring))) fail("calloc");
        if (mode != SHORT) open_client(&all[i]);
    }
    for (int i = 0; i < clients * nodes && mode != SHORT; i++) {
        struct epoll_event event;
        while (all[i].connecting) {
            int n = epoll_wait(poll_fd, &event, 1, 30000);
            if (n <= 0) fail("connecting takes too long");
            serve(event.data.ptr, EPOLLOUT);
        }
        shake_hands(&all[i]);
    }
}

static void usage(void) {
    fprintf(stderr, "load: see the first lines of load.c\n");
    exit(64);
}

static void read_ports(char *list) {
    for (nodes = 0; list; nodes++) {
        if (nodes == MOST_NODES) usage();
        ports[nodes] = atoi(strsep(&list, ","));
    }
}

static void read_options(int count, char **words) {
    for (int option; (option = getopt(count, words, "h:s:m:c:P:d:k:n:r:a:O:TRw")) != -1;) {
        switch (option) {
        case 'h': read_ports(optarg); break;
        case 's': path = optarg; break;
        case 'c': clients = atoi(optarg); break;
        case 'P': pipeline = atoi(optarg); break;
        case 'd': value_size = atoi(optarg); break;
        case 'k': key_count = atoi(optarg); break;
        case 'n': total = atoll(optarg); break;
        case 'r': rate = atoll(optarg); break;
        case 'a': password = optarg; break;
        case 'O': one_of = atoi(optarg); break;
        case 'T': use_tls = 1; break;
        case 'R': use_tls = resumes = 1; break;
        case 'w': waits = 1; break;
        case 'm':
            for (mode = MIX; mode <= MGET && strcmp(mode_names[mode], optarg); mode++) continue;
            if (mode > MGET) usage();
            break;
        default: usage();
        }
    }
    if (nodes > 1 && mode != MIX && mode != MGET) usage();
    if (mode == MGET && (one_of || key_count < KEYS_OF_MGET || key_count % KEYS_OF_MGET)) usage();
}

int main(int count, char **words) {
    read_options(count, words);
#ifdef TLS
    tls_context = SSL_CTX_new(TLS_client_method());
    // A record in one read, not its header and its rest in two.
    SSL_CTX_set_read_ahead(tls_context, 1);
#else
    if (use_tls) fail("built without TLS");
#endif
    poll_fd = epoll_create1(0);
    all = calloc((size_t)(clients * nodes), sizeof *all);
    if (poll_fd < 0 || !all || (!ports[0] && !path)) fail("cannot begin");
    steps = prepare();
    prepare_slots();
    connect_all();
    char line[8];
    if (waits && (puts("ready") < 0 || fflush(stdout) || !fgets(line, sizeof line, stdin)))
        fail("nobody said when to begin");
    double cpu = cpu_seconds();
    int64_t started = now_ns();
    run();
    double seconds = (double)(now_ns() - started) / 1e9;
    cpu = cpu_seconds() - cpu;
    printf("{\"units\": %lld, \"commands\": %lld, \"seconds\": %.6f, \"cpu\": %.6f, "
           "\"resumed\": %lld, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f}\n",
           (long long)done, (long long)commands_done, seconds, cpu, (long long)resumed,
           percentile(0.5), percentile(0.99), percentile(0.999));
    return 0;
}
