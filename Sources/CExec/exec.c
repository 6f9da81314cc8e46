#define _GNU_SOURCE
#include "exec.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

int redpool_memory_file(void) {
    int fd = memfd_create("redpool-hand-over", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : fd;
}

int redpool_seal_size(int fd) {
    return fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno : 0;
}

int redpool_set_inherited(int fd, bool is_inherited) {
    return fcntl(fd, F_SETFD, is_inherited ? 0 : FD_CLOEXEC) < 0 ? -errno : 0;
}

int redpool_inherit_nothing(void) {
    // Linux 5.11; before it, the descriptors are marked one by one.
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return 0;
    long most = sysconf(_SC_OPEN_MAX);
    for (int fd = 3; fd < (most < 0 ? 1 << 16 : most); fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 && errno != EBADF) return -errno;
    }
    return 0;
}

// Open only without /proc: another file may be at the path by the time that it is needed.
static int own_program = -1;

void redpool_note_program(const char *path) {
    int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (fd < 0) {
        own_program = open(path, O_PATH | O_CLOEXEC);
    } else {
        close(fd);
    }
}

int redpool_own_program(void) {
    int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    if (fd < 0) fd = fcntl(own_program, F_DUPFD_CLOEXEC, 3);
    return fd < 0 ? -errno : fd;
}

// Signals that the program handles wait from one program to the next: the kernel keeps them, and
// executing a program does not change what is blocked. Otherwise one that comes between the two
// would end the process, because nobody handles it yet.
static void hold_only_orders(void) {
    sigset_t orders;
    sigemptyset(&orders);
    sigaddset(&orders, SIGTERM);
    sigaddset(&orders, SIGINT);
    sigaddset(&orders, SIGHUP);
    sigaddset(&orders, SIGQUIT);
    sigprocmask(SIG_SETMASK, &orders, NULL);
}

void redpool_hold_signals(bool are_held) {
    sigset_t none;
    sigemptyset(&none);
    if (are_held) hold_only_orders();
    else sigprocmask(SIG_SETMASK, &none, NULL);
}

int redpool_execute(const char *path, char *const arguments[], char *const environment[]) {
    execve(path, arguments, environment);
    return -errno;
}

pid_t redpool_start(const char *path, char *const arguments[], char *const environment[], int file,
                    int *answers) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -errno;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    // On the same number it takes away the mark that closes the descriptor.
    posix_spawn_file_actions_adddup2(&actions, file, 3);
    pid_t process;
    int error = posix_spawn(&process, path, &actions, &attributes, arguments, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(ends[1]);
    if (error != 0) {
        close(ends[0]);
        return -error;
    }
    *answers = ends[0];
    return process;
}

int redpool_reap(pid_t process) {
    int status = 0;
    while (waitpid(process, &status, 0) < 0) {
        if (errno != EINTR) return -errno;
    }
    return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

// What the handlers need. They may call hardly anything, so all of it is ready before.
static struct {
    int former;
    char *const *arguments;
    char *const *environment;
    char *mark;
} way_back = {-1, NULL, NULL, NULL};

static const int signals_of_trouble[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGALRM};
enum { trouble_count = sizeof signals_of_trouble / sizeof *signals_of_trouble };

// The kernel replaces the process for the first thread that asks. Until it has ended the others,
// they can still fail because of that: while a program is being executed no thread can be started.
static atomic_bool is_going_back;

bool redpool_is_going_back(void) { return atomic_load(&is_going_back); }

void redpool_go_back(int number) {
    if (way_back.former >= 0 && atomic_exchange(&is_going_back, true)) {
        for (;;) pause();
    }
    if (way_back.mark) {
        way_back.mark[0] = (char)('0' + number / 10 % 10);
        way_back.mark[1] = (char)('0' + number % 10);
    }
    // The former program is to come back from this as well.
    alarm(0);
    hold_only_orders();
    syscall(SYS_execveat, way_back.former, "", way_back.arguments, way_back.environment,
            AT_EMPTY_PATH);
    atomic_store(&is_going_back, false);
}

static void in_trouble(int number) {
    redpool_go_back(number);
    _exit(128 + number);
}

// Stacks for handlers: an overflow leaves no room for one on a thread's own.
enum { handler_stack = 64 << 10 };

void redpool_guard_thread(void) {
    if (way_back.former < 0) return;
    // Never given back: the few threads that begin in this time last as long as the process.
    void *room = mmap(NULL, handler_stack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0);
    stack_t own = {.ss_sp = room, .ss_size = handler_stack};
    if (room == MAP_FAILED || sigaltstack(&own, NULL) < 0) redpool_go_back(0);
}

int redpool_guard(int former, char *const arguments[], char *const environment[], char *mark,
                  unsigned seconds) {
    static char stack[handler_stack];
    stack_t own = {.ss_sp = stack, .ss_size = sizeof stack};
    // First: a failure goes this way as well.
    way_back.former = former;
    way_back.arguments = arguments;
    way_back.environment = environment;
    way_back.mark = mark;
    if (sigaltstack(&own, NULL) < 0) return -errno;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = in_trouble;
    action.sa_flags = SA_ONSTACK;
    sigfillset(&action.sa_mask);
    for (int index = 0; index < trouble_count; index++) {
        if (sigaction(signals_of_trouble[index], &action, NULL) < 0) return -errno;
    }
    alarm(seconds);
    return 0;
}

void redpool_stay(void) {
    alarm(0);
    // Its descriptor is closed next, and the number may be a client's soon.
    way_back.former = -1;
    for (int index = 0; index < trouble_count; index++) signal(signals_of_trouble[index], SIG_DFL);
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
}

void redpool_begin_anew(void) {
    alarm(0);
    hold_only_orders();
}

bool redpool_take_order(const char *name, int *file, int *former, int *failure) {
    const char *text = getenv(name);
    if (!text) return false;
    int found[3] = {-1, -1, -1};
    int length = 0;
    // The text is the former program's own.
    bool is_order = sscanf(text, "%9d,%9d%n", &found[0], &found[1], &length) == 2;
    if (is_order && text[length] != '\0') {
        is_order = sscanf(text + length, ",%2d%n", &found[2], &length) == 1;
    }
    unsetenv(name);
    if (!is_order || found[0] < 3 || found[1] < 3) return false;
    // A program that comes back was executed by the descriptor.
    if (found[2] >= 0 && own_program >= 0) dup3(found[1], own_program, O_CLOEXEC);
    *file = found[0];
    *former = found[1];
    *failure = found[2];
    return true;
}

char *const *redpool_environment(void) { return environ; }

int redpool_wipe_file(int fd, int64_t length) {
    if (length <= 0) return 0;
    void *bytes = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bytes == MAP_FAILED) return -errno;
    explicit_bzero(bytes, (size_t)length);
    munmap(bytes, (size_t)length);
    return 0;
}
