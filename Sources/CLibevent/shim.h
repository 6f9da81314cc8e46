// Everything of C that Redpool touches: libevent's headers, and the system calls that Swift's Glibc
// module does not offer. Functions here return a count, or -errno: a Swift caller that read `errno`
// itself could find it changed by reference counting that happened in between.

#ifndef REDPOOL_SHIM_H
#define REDPOOL_SHIM_H

#include <dirent.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// glibc declares these only under _GNU_SOURCE or its like, which would give its other types a
// second definition beside the one in Swift's own Glibc module.
extern int accept4(int, struct sockaddr *, socklen_t *, int);
extern int pthread_setname_np(pthread_t, const char *);
extern long syscall(long, ...);

// libevent's flags are plain ints in the header and shorts in its functions.
static const short redpool_ev_read = EV_READ;
static const short redpool_ev_write = EV_WRITE;
static const short redpool_ev_persist = EV_PERSIST;
static const short redpool_ev_edge = EV_ET;
static const short redpool_ev_closed = EV_CLOSED;
static const short redpool_ev_timeout = EV_TIMEOUT;

// One base per thread, no locks, deaf to the environment (EVENT_NOEPOLL and the like must not
// change how a daemon behaves).
static inline struct event_base *redpool_base_new(void) {
    struct event_config *config = event_config_new();
    if (config == NULL) return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV);
    // Nobody asks libevent for the time.
    event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME);
    event_config_require_features(config, EV_FEATURE_O1 | EV_FEATURE_EARLY_CLOSE);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static inline int64_t redpool_monotonic(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline int64_t redpool_thread_time(void) {
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

// Not recv(3) and send(3): those are points at which a thread can be cancelled, and prepare for
// that with a call and an atomic operation before and after. Nobody here cancels threads.
static inline ssize_t redpool_recv(int fd, void *into, size_t count) {
    ssize_t n;
    do n = syscall(SYS_recvfrom, fd, into, count, MSG_DONTWAIT, NULL, NULL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline ssize_t redpool_send(int fd, const void *from, size_t count) {
    ssize_t n;
    do n = syscall(SYS_sendto, fd, from, count, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline ssize_t redpool_send_vector(int fd, struct iovec *parts, size_t count) {
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = parts;
    message.msg_iovlen = count;
    ssize_t n;
    do n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

// Bytes in the socket that the peer has not taken: 0 where that cannot be told.
static inline int redpool_bytes_waiting(int fd) {
    int count = 0;
    return ioctl(fd, TIOCOUTQ, &count) < 0 ? 0 : count;
}

static inline bool redpool_is_readable(int fd) {
    struct pollfd entry = {.fd = fd, .events = POLLIN, .revents = 0};
    int n;
    do n = poll(&entry, 1, 0); while (n < 0 && errno == EINTR);
    return n > 0;
}

// Waits for `events` of poll(2) until `deadline`, nanoseconds of CLOCK_MONOTONIC. Returns 0, also when
// the socket is broken, which the next call says; -ETIMEDOUT, or -errno.
static inline int redpool_wait(int fd, short events, int64_t deadline) {
    for (;;) {
        int64_t left = deadline - redpool_monotonic();
        if (left <= 0) return -ETIMEDOUT;
        int64_t milliseconds = left / 1000000 + 1;
        struct pollfd entry = {.fd = fd, .events = events, .revents = 0};
        int n = poll(&entry, 1, milliseconds > 86400000 ? 86400000 : (int)milliseconds);
        if (n > 0) return 0;
        if (n < 0 && errno != EINTR) return -errno;
    }
}

// What a socket says of its peer without a look at what is unread: 0 nothing, 1 that it has ended
// what it sends, 2 that the connection is broken.
static inline int redpool_peer_end(int fd) {
    short closed = 0x2000;  // POLLRDHUP, which glibc has only under _GNU_SOURCE.
    struct pollfd entry = {.fd = fd, .events = closed, .revents = 0};
    int n;
    do n = poll(&entry, 1, 0); while (n < 0 && errno == EINTR);
    if (n <= 0) return 0;
    if (entry.revents & (POLLERR | POLLNVAL)) return 2;
    return entry.revents & (closed | POLLHUP) ? 1 : 0;
}

static inline int redpool_accept(int fd, struct sockaddr_storage *peer, socklen_t *length) {
    int n;
    *length = sizeof *peer;
    do n = accept4(fd, (struct sockaddr *)peer, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static inline int redpool_socket(int family) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static inline int redpool_connect(int fd, const struct sockaddr_storage *address, socklen_t length) {
    int n = connect(fd, (const struct sockaddr *)address, length);
    return n < 0 ? -errno : n;
}

static inline int redpool_bind(int fd, const struct sockaddr_storage *address, socklen_t length) {
    int n = bind(fd, (const struct sockaddr *)address, length);
    return n < 0 ? -errno : n;
}

static inline int redpool_listen(int fd, int backlog) {
    int n = listen(fd, backlog);
    return n < 0 ? -errno : n;
}

static inline int redpool_local_address(int fd, struct sockaddr_storage *out, socklen_t *length) {
    *length = sizeof *out;
    int n = getsockname(fd, (struct sockaddr *)out, length);
    return n < 0 ? -errno : n;
}

static inline int redpool_peer_address(int fd, struct sockaddr_storage *out, socklen_t *length) {
    *length = sizeof *out;
    int n = getpeername(fd, (struct sockaddr *)out, length);
    return n < 0 ? -errno : n;
}

// The process that has connected a unix socket, and its user, or -errno. The struct is that of
// unix(7); glibc declares it only with _GNU_SOURCE.
static inline int redpool_peer_process(int fd, int32_t *process, uint32_t *user) {
    struct {
        int32_t pid;
        uint32_t uid, gid;
    } found;
    socklen_t length = sizeof found;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &found, &length) < 0) return -errno;
    *process = found.pid;
    *user = found.uid;
    return 0;
}

// Bytes of ours that the peer's kernel has acknowledged on a TCP connection, or -errno. glibc's
// struct tcp_info ends before this field; its place in the kernel's is part of the stable ABI
// (include/uapi/linux/tcp.h, tcpi_bytes_acked, since Linux 4.1). It counts the SYN as one.
static inline int64_t redpool_bytes_acknowledged(int fd) {
    unsigned char info[256];
    socklen_t length = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length) < 0) return -errno;
    if (length < 128) return -ENOPROTOOPT;
    uint64_t acknowledged;
    memcpy(&acknowledged, info + 120, sizeof acknowledged);
    return acknowledged > 0 ? (int64_t)acknowledged - 1 : 0;
}

// The pending error of a socket, as a positive errno, 0 for none.
static inline int redpool_socket_error(int fd) {
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
    return error;
}

static inline int redpool_set_option(int fd, int level, int option, int value) {
    int n = setsockopt(fd, level, option, &value, sizeof value);
    return n < 0 ? -errno : n;
}

// The decimal number in an environment variable. -1 if there is none, -2 if it is something else.
static inline int64_t redpool_environment_number(const char *name) {
    const char *text = getenv(name);
    if (text == NULL) return -1;
    if (*text < '0' || *text > '9') return -2;
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    return *end != 0 || errno != 0 ? -2 : number;
}

// Prepares a listening socket of the service manager. Returns 1 for an IPv6 socket that takes IPv4
// clients as well, 0 for any other, -EINVAL for what is no listening stream socket, or -errno.
static inline int redpool_adopt_listener(int fd) {
    int type = 0, listens = 0, family = 0, only = 1;
    socklen_t length = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0)
        return errno == ENOTSOCK ? -EINVAL : -errno;
    length = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0) return -errno;
    length = sizeof family;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) < 0) return -errno;
    if (type != SOCK_STREAM || !listens) return -EINVAL;
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX) return -EINVAL;
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return -errno;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    if (family != AF_INET6) return 0;
    length = sizeof only;
    if (getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &length) < 0) return -errno;
    return only ? 0 : 1;
}

static inline int redpool_shutdown_write(int fd) {
    int n = shutdown(fd, SHUT_WR);
    return n < 0 ? -errno : n;
}

static inline int redpool_eventfd(void) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static inline int redpool_eventfd_signal(int fd) {
    uint64_t one = 1;
    ssize_t n;
    do n = write(fd, &one, sizeof one); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static inline int redpool_eventfd_clear(int fd) {
    uint64_t value;
    ssize_t n;
    do n = read(fd, &value, sizeof value); while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

static inline int redpool_timerfd(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

// Readable from `deadline` on, nanoseconds of CLOCK_MONOTONIC; what is past is readable at once.
static inline void redpool_timerfd_set(int fd, int64_t deadline) {
    if (deadline < 1) deadline = 1;  // 0 would disarm it.
    struct itimerspec when = {
        .it_value = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000}};
    timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL);
}

// A datagram to systemd's notification socket; `path` may name an abstract socket with a leading @.
static inline int redpool_notify(const char *path, const char *text, size_t count, bool waits) {
    struct sockaddr_un address;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address.sun_path) return -EINVAL;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, length);
    if (address.sun_path[0] == '@') address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -errno;
    int flags = MSG_NOSIGNAL | (waits ? 0 : MSG_DONTWAIT);
    ssize_t n = sendto(fd, text, count, flags, (struct sockaddr *)&address,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    int error = n < 0 ? -errno : 0;
    close(fd);
    return error;
}

static inline int redpool_unix_address(const char *path, struct sockaddr_storage *out,
                                       socklen_t *length) {
    struct sockaddr_un *address = (struct sockaddr_un *)out;
    size_t count = strlen(path);
    if (count == 0 || count >= sizeof address->sun_path) return -ENAMETOOLONG;
    memset(out, 0, sizeof *out);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, count + 1);
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + count + 1);
    return 0;
}

static inline bool redpool_is_same_file(const char *one, const char *other) {
    struct stat first, second;
    return stat(one, &first) == 0 && stat(other, &second) == 0 && first.st_dev == second.st_dev
        && first.st_ino == second.st_ino;
}

// The address of another process's socket is the file `path`: where it is relative to we do not know,
// so the last part decides then.
static inline bool redpool_means(const char *address, const char *path) {
    if (strcmp(address, path) == 0) return true;
    if (address[0] == '/') return redpool_is_same_file(address, path);
    const char *name = strrchr(path, '/'), *other = strrchr(address, '/');
    return address[0] != 0 && address[0] != '@'
        && strcmp(name != NULL ? name + 1 : path, other != NULL ? other + 1 : address) == 0;
}

// Somebody has bound a socket to `path` on which nobody listens yet. The kernel says so here only;
// false where that cannot be read.
static inline bool redpool_is_bound(const char *path) {
    FILE *sockets = fopen("/proc/self/net/unix", "re");
    if (sockets == NULL) return false;
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (!found && getline(&line, &size, sockets) > 0) {
        unsigned flags = 0, type = 0, state = 0;
        int start = 0;
        // Number: references protocol flags type state inode path
        sscanf(line, "%*s %*s %*s %x %x %x %*s %n", &flags, &type, &state, &start);
        if (start == 0 || type != SOCK_STREAM) continue;
        line[strcspn(line, "\n")] = 0;
        // SS_UNCONNECTED without __SO_ACCEPTCON.
        found = state == 1 && (flags & 1 << 16) == 0 && redpool_means(line + start, path);
    }
    free(line);
    fclose(sockets);
    return found;
}

static inline int redpool_give_to_group(const char *path, int64_t gid) {
    return chown(path, (uid_t)-1, (gid_t)gid) < 0 ? -errno : 0;
}

// True also where that cannot be told.
static inline bool redpool_is_in_group(int64_t gid) {
    gid_t groups[1024];
    int count = getgroups(1024, groups);
    if (count < 0 || getegid() == (gid_t)gid) return true;
    for (int i = 0; i < count; i++) {
        if (groups[i] == (gid_t)gid) return true;
    }
    return false;
}

// The name of the user that the process runs as; NULL when he has none.
static inline const char *redpool_user_name(void) {
    struct passwd *entry = getpwuid(geteuid());
    return entry == NULL ? NULL : entry->pw_name;
}

// The numeric id of a group name (or of a decimal number), -1 when there is none.
static inline int64_t redpool_group_id(const char *name) {
    struct group *entry = getgrnam(name);
    if (entry != NULL) return entry->gr_gid;
    char *end = NULL;
    long number = strtol(name, &end, 10);
    return (end != name && *end == 0 && number >= 0) ? number : -1;
}

// Whether an access control list decides about a file together with its mode.
static inline bool redpool_has_access_list(const char *path) {
    return getxattr(path, "system.posix_acl_access", NULL, 0) > 0;
}

// Opens those of the descriptors 0 to 2 that are closed, so that nothing else is given their numbers:
// what is written to standard error would go there. Without /dev/null they are sockets without a
// peer, to which nothing can be written. Returns 0 or -errno.
static inline int redpool_open_standard_descriptors(void) {
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
        // The lowest free number is taken.
        int made = open("/dev/null", O_RDWR);
        if (made < 0) made = socket(AF_UNIX, SOCK_DGRAM, 0);
        if (made < 0) return -errno;
    }
    return 0;
}

static inline void redpool_block_signals(void) {
    // A fault whose signal is blocked ends the process at once, past every handler.
    static const int faults[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
    sigset_t all;
    sigfillset(&all);
    for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static inline void redpool_name_thread(const char *name) {
    pthread_setname_np(pthread_self(), name);
}

// The resident memory in bytes, -1 where /proc does not say.
static inline int64_t redpool_resident_bytes(void) {
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) return -1;
    long all = 0, resident = 0;
    int count = fscanf(file, "%ld %ld", &all, &resident);
    fclose(file);
    return count == 2 ? (int64_t)resident * sysconf(_SC_PAGESIZE) : -1;
}

// Processor time of all threads in nanoseconds.
static inline int64_t redpool_process_time(void) {
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

// The number of open descriptors; -1 where that cannot be told. Linux 6.2 and later say it as the
// size of the folder; to count 10,000 entries takes milliseconds.
static inline int64_t redpool_open_files(void) {
    struct stat facts;
    if (stat("/proc/self/fd", &facts) < 0) return -1;
    if (facts.st_size > 0) return facts.st_size;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) return -1;
    int64_t count = 0;
    while (readdir(folder) != NULL) count++;
    closedir(folder);
    return count < 3 ? -1 : count - 3;  // Without . and .. and its own.
}

// The limit of open descriptors that is in force; -1 for none.
static inline int64_t redpool_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY) return -1;
    return (int64_t)limit.rlim_cur;
}

// Gives the system the pages of free heap memory, wherever in the heap they are. glibc by itself
// gives back only what is free at the very end.
static inline void redpool_trim_heap(void) {
    malloc_trim(0);
}

// Raises the soft limit of open files to the hard one where it is lower than `wanted`, and returns
// the limit that is then in force.
static inline int64_t redpool_raise_files(int64_t wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    if (limit.rlim_cur != RLIM_INFINITY && (int64_t)limit.rlim_cur < wanted) {
        rlim_t target = (rlim_t)wanted;
        if (limit.rlim_max != RLIM_INFINITY && target > limit.rlim_max) target = limit.rlim_max;
        limit.rlim_cur = target;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    }
    return limit.rlim_cur == RLIM_INFINITY ? INT64_MAX : (int64_t)limit.rlim_cur;
}

#endif
