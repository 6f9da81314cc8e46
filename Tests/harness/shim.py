"""Overrides calls of the C library. A file controls them while the daemon runs."""

import shutil
import subprocess

# The file has one of these: the name of a call that fails as if out of memory; the result of
# looking up moving.test (an address, `fail` for no answer, `unknown` for an unknown name, `system`
# for out of descriptors); or `clock` and the seconds by which the monotonic clock is ahead of the
# kernel's.
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static __thread char said[64];
static const char *now(void) {
    int file = open(getenv("SHIM_FILE"), O_RDONLY | O_CLOEXEC);
    ssize_t count = file < 0 ? 0 : read(file, said, sizeof said - 1);
    if (file >= 0) close(file);
    said[count > 0 ? count : 0] = 0;
    return said;
}
int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    int (*real)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
    if (!strcmp(now(), "accept4")) { errno = ENOMEM; return -1; }
    return real(fd, address, length, flags);
}
int socket(int domain, int type, int protocol) {
    int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");
    if (!strcmp(now(), "socket")) { errno = ENOBUFS; return -1; }
    return real(domain, type, protocol);
}
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        dlsym(RTLD_NEXT, "getaddrinfo");
    int is_numeric = hints && (hints->ai_flags & AI_NUMERICHOST);
    if (node && !is_numeric && !strcmp(node, "moving.test")) {
        node = now();
        if (!strcmp(node, "fail")) return EAI_AGAIN;
        if (!strcmp(node, "unknown")) return EAI_NONAME;
        if (!strcmp(node, "system")) { errno = EMFILE; return EAI_SYSTEM; }
    }
    return real(node, service, hints, found);
}
static time_t ahead(void) {
    const char *text = now();
    return strncmp(text, "clock ", 6) ? 0 : atol(text + 6);
}
int clock_gettime(clockid_t clock, struct timespec *time) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (clock == CLOCK_MONOTONIC) time->tv_sec += ahead();
    return result;
}
int timerfd_settime(int fd, int flags, const struct itimerspec *when, struct itimerspec *before) {
    int (*real)(int, int, const struct itimerspec *, struct itimerspec *) =
        dlsym(RTLD_NEXT, "timerfd_settime");
    struct itimerspec moved = *when;
    if (flags & TFD_TIMER_ABSTIME) moved.it_value.tv_sec -= ahead();
    if (moved.it_value.tv_sec < 0) moved.it_value.tv_sec = 0, moved.it_value.tv_nsec = 1;
    return real(fd, flags, &moved, before);
}
"""


class Shim:
    """The library in `folder`, and the file that it reads at each call."""

    def __init__(self, folder, code=SOURCE):
        source, library = folder / "shim.c", folder / "shim.so"
        source.write_text(code)
        subprocess.run(
            ["gcc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True
        )
        self._file = folder / "says"
        self.environment = {"LD_PRELOAD": str(library), "SHIM_FILE": str(self._file)}
        self.say("")

    @staticmethod
    def is_possible() -> bool:
        return shutil.which("gcc") is not None

    def say(self, text):
        fresh = self._file.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self._file)
