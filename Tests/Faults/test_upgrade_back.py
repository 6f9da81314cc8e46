"""Another program fails when it is executed already: the one before goes on with every client."""

import pathlib
import signal

import pytest

from harness.http import Http
from harness.shim import Shim
from harness.waiting import eventually
from harness.wire import Address, ErrorReply
from upgrades import Asking, Clients, asked, upgrade

pytestmark = [pytest.mark.daemon, pytest.mark.plain]

# A call of the C library that fails in a program that takes over, and in no other. The file says
# which, how, and, if it is not the first, behind how many calls.
SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int takes_over;
__attribute__((constructor)) static void look(void) {
    const char *order = getenv("REDPOOL_HANDOVER");
    const char *comma = order ? strchr(order, ',') : NULL;
    // On the way back there is a third number.
    takes_over = comma && !strchr(comma + 1, ',');
}
static int overflow(volatile char *before) {
    volatile char more[4096];
    more[0] = *before;
    return overflow(more) + more[0];
}
static int fails(const char *call) {
    static int calls;
    int passed = 0;
    char said[64] = "", name[32] = "", how[32] = "";
    const char *path = getenv("SHIM_FILE");
    if (!takes_over) return 0;
    do {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t count = file < 0 ? 0 : read(file, said, sizeof said - 1);
        if (file >= 0) close(file);
        said[count > 0 ? count : 0] = 0;
        name[0] = how[0] = 0;
        sscanf(said, "%31s %31s %d", name, how, &passed);
        if (strcmp(name, call)) return 0;
        if (!strcmp(how, "wait")) usleep(1000);
    } while (!strcmp(how, "wait"));
    if (calls++ < passed) return 0;
    if (!strcmp(how, "abort")) abort();
    if (!strcmp(how, "trap")) __builtin_trap();
    if (!strcmp(how, "null")) *(volatile int *)NULL = 1;
    if (!strcmp(how, "overflow")) overflow(said);
    while (!strcmp(how, "hang")) pause();
    errno = EMFILE;
    return 1;
}
int getpeername(int fd, struct sockaddr *address, socklen_t *length) {
    int (*real)(int, struct sockaddr *, socklen_t *) = dlsym(RTLD_NEXT, "getpeername");
    return fails("getpeername") ? -1 : real(fd, address, length);
}
int epoll_create1(int flags) {
    int (*real)(int) = dlsym(RTLD_NEXT, "epoll_create1");
    return fails("epoll_create1") ? -1 : real(flags);
}
int eventfd(unsigned count, int flags) {
    int (*real)(unsigned, int) = dlsym(RTLD_NEXT, "eventfd");
    return fails("eventfd") ? -1 : real(count, flags);
}
int timerfd_create(int clock, int flags) {
    int (*real)(int, int) = dlsym(RTLD_NEXT, "timerfd_create");
    return fails("timerfd_create") ? -1 : real(clock, flags);
}
int sigaltstack(const stack_t *stack, stack_t *before) {
    int (*real)(const stack_t *, stack_t *) = dlsym(RTLD_NEXT, "sigaltstack");
    return fails("sigaltstack") ? -1 : real(stack, before);
}
int epoll_ctl(int fd, int what, int of, struct epoll_event *event) {
    int (*real)(int, int, int, struct epoll_event *) = dlsym(RTLD_NEXT, "epoll_ctl");
    return fails("epoll_ctl") ? -1 : real(fd, what, of, event);
}
int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*begin)(void *), void *of) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        dlsym(RTLD_NEXT, "pthread_create");
    return fails("pthread_create") ? EAGAIN : real(thread, how, begin, of);
}
"""


@pytest.fixture
def shim(tmp_path):
    if not Shim.is_possible():
        pytest.skip("no gcc to make calls of the C library fail with")
    return Shim(tmp_path, SOURCE)


@pytest.fixture(params=[1, 2])
def world(launch, shim, request):
    server = launch.server()
    http = Http()
    redpool = launch.redpool(
        server, console=True, settings={"threads": request.param} | http.settings,
        environment=shim.environment)
    with Clients(redpool, server) as clients:
        clients.are_served()
        yield redpool, http, clients
    assert redpool.stop() == 0


# In the main thread before and behind the file is read, and in a worker.
FAILURES = {
    "sigaltstack fail": "has failed",
    "eventfd abort": "ended with signal 6", "eventfd trap": "ended with signal 4",
    "eventfd null": "ended with signal 11", "eventfd overflow": "ended with signal 11",
    "eventfd fail": "has failed", "epoll_create1 trap": "ended with signal 4",
    "getpeername trap": "ended with signal 4", "getpeername null": "ended with signal 11",
    "getpeername hang": "ended with signal 14", "getpeername overflow": "ended with signal 11",
    # What is to be heard of would not be.
    "epoll_ctl fail": "has failed",
    # The console and the endpoint of metrics are taken over by then.
    "pthread_create fail": "has failed",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_the_other_program_fails(world, shim, failure):
    redpool, _, clients = world
    descriptors = redpool.fds()
    for turn in range(1 if "hang" in failure else 3):
        shim.say(failure)
        answer = asked(redpool)
        assert answer == (
            f"ERR upgrade failed: 0.9.0 {FAILURES[failure]} before it took over; "
            "0.9.0 serves on").encode()
        assert redpool.log().count("event=upgrade.failed") == turn + 1
        clients.are_served()
    shim.say("")
    assert "clients carried" in upgrade(redpool)
    clients.are_served()
    # One belongs to the hand-over.
    eventually(lambda: redpool.fds() <= descriptors + 1, what="descriptors as before")


@pytest.mark.parametrize("call", ["eventfd", "timerfd_create"])
def test_any_descriptor_may_be_missing(world, shim, call):
    """Whatever has been taken over by then: the other program has it all, or the one before."""
    redpool, http, clients = world
    failures = 0
    for passed in range(16):
        shim.say(f"{call} fail {passed}")
        answer = asked(redpool)
        shim.say("")
        if isinstance(answer, ErrorReply):
            failures += 1
            is_back = b"; 0.9.0 serves on" in answer
            # Of those that were to be there before, one may be missing as well.
            assert is_back or b"refused: no descriptors left" in answer, answer
        else:
            assert answer.startswith(b"upgraded "), answer
        clients.are_served()
        assert http.get("/healthz").status == 200
    # Later calls are not made any more.
    assert 1 <= failures < 16, failures


def workers(redpool) -> int:
    """How many threads serve clients."""
    names = pathlib.Path(f"/proc/{redpool.process.pid}/task").glob("*/comm")
    return sum(name.read_text().startswith("worker-") for name in names)


def test_a_key_that_waits_for_a_restart(world, tmp_path):
    """Another program puts it into force. If that is not possible, nothing has changed."""
    redpool, http, clients = world
    threads = workers(redpool)
    redpool.reload_settings(
        admin={"socket": str(tmp_path / "none" / "admin.sock")}, threads=3 - threads)
    for _ in range(2):
        assert asked(redpool) == (
            b"ERR upgrade failed: 0.9.0 has failed before it took over; 0.9.0 serves on")
        clients.are_served()
        assert http.get("/healthz").status == 200
        assert workers(redpool) == threads
        pending = [row["key"] for row in redpool.show("config") if row["pending"]]
        assert pending == ["threads", "admin.socket"], pending
    moved = redpool.folder / "moved.sock"
    redpool.reload_settings(admin={"socket": str(moved)})
    assert asked(redpool).startswith(b"upgraded ")
    assert moved.exists() and not pathlib.Path(redpool.admin.path).exists()
    redpool.admin = Address(path=str(moved))
    clients.are_served()
    assert workers(redpool) == 3 - threads


def is_taking_over(redpool) -> bool:
    """It has been executed in place of another program."""
    return "REDPOOL_HANDOVER=" in pathlib.Path(f"/proc/{redpool.process.pid}/environ").read_text()


# MARK: Signals while the other program builds what it takes over


@pytest.mark.parametrize("call", ["eventfd", "getpeername"])
def test_a_reload_meanwhile(world, shim, call):
    redpool, _, clients = world
    shim.say(f"{call} wait")
    asking = Asking(redpool)
    eventually(lambda: is_taking_over(redpool), what="the other program")
    redpool.signal(signal.SIGHUP)
    shim.say("")
    assert asking.end().startswith(b"upgraded ")
    eventually(lambda: "event=reload.done" in redpool.log(), what="a reload")
    clients.are_served()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_meanwhile(world, shim, how):
    redpool, _, _ = world
    shim.say("getpeername wait")
    asking = Asking(redpool)
    eventually(lambda: is_taking_over(redpool), what="the other program")
    redpool.signal(how)
    shim.say("")
    assert asking.end().startswith(b"upgraded ")
    assert redpool.wait() == 0
    assert "event=drain.end" in redpool.log()
