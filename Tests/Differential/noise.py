"""Noisy neighbours: clients that keep the pool's upstreams dirty while scripts are compared.

    noise.py HOST PORT

They leave no trace that a script could see: no key in databases 0 to 7 outlives the command that
makes it, and all channels begin with `noise`. At most two of them hold an upstream at a time.
"""

import random
import socket
import sys
import threading

from harness.wire import encode

MAKE_AND_DROP = "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('DEL', KEYS[1])"

# Each neighbour's steps: commands that go out in one write, and the end of the answers.
SHARED = [
    [("GET", "noise:a"), ("PING",), ("EXISTS", "noise:b")],
    [("EVAL", MAKE_AND_DROP, "1", "noise:k", "x" * 200)],
    [("LRANGE", "noise:l", "0", "-1"), ("NOSUCHCOMMAND",), ("INCRBY", "noise:n", "x")],
    [("MULTI",), ("GET", "noise:a"), ("EXEC",)],
    [("CLIENT", "SETNAME", "noise"), ("CLIENT", "ID"), ("CLIENT", "SETNAME", "")],
]
MOVING = [
    [("SELECT", "9"), ("SET", "noise:k", "1"), ("DEL", "noise:k")],
    [("SELECT", "3"), ("GET", "noise:k"), ("SELECT", "0")],
    [("HELLO", "3"), ("GET", "noise:none"), ("HELLO", "2")],
    [("CLIENT", "REPLY", "SKIP"), ("PING",)],
    [("RESET",), ("SELECT", "1"), ("CLIENT", "SETNAME", "mover")],
    [("AUTH", "bob", "pw"), ("GET", "noise:none"), ("RESET",)],
]
HOLDING = [
    [("WATCH", "noise:w"), ("GET", "noise:w"), ("MULTI",), ("GET", "noise:w"), ("EXEC",)],
    [("MULTI",), ("CLIENT", "SETNAME", "holder"), ("PING",), ("DISCARD",)],
    [("SUBSCRIBE", "noise1", "noise2"), ("PING",), ("UNSUBSCRIBE", "noise1", "noise2")],
    [("WATCH", "noise:w"), ("UNWATCH",)],
    [("MULTI",), ("NOSUCHCOMMAND",), ("EXEC",)],
]
BLOCKING = [
    [("BLPOP", "noise:q", "0.01")],
    [("BZPOPMIN", "noise:z", "0.02"), ("PING",)],
    [("XREAD", "BLOCK", "10", "STREAMS", "noise:x", "$")],
]


def neighbour(host, port, steps, pause, stop):
    chance = random.Random(len(steps))
    connection, left = None, 0
    while not stop.is_set():
        if left == 0:
            if connection:
                connection.close()
            connection = socket.create_connection((host, port), timeout=30)
            left = chance.randrange(1, 60)
        left -= 1
        data = b"".join(encode(*command) for command in chance.choice(steps))
        # The marker is the last thing that is answered, whatever was before.
        connection.sendall(data + encode("PING", "end"))
        answer = b""
        while b"$3\r\nend\r\n" not in answer:
            piece = connection.recv(65536)
            if not piece:
                left = 0
                break
            answer += piece
        stop.wait(pause)


def forever(host, port, steps, pause, stop):
    while not stop.is_set():
        try:
            neighbour(host, port, steps, pause, stop)
        except OSError:
            # The daemon may be draining, or the script may have closed everybody's connection.
            stop.wait(0.05)


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    stop = threading.Event()
    work = [(SHARED, 0.004), (SHARED, 0.009), (MOVING, 0.007), (HOLDING, 0.006), (BLOCKING, 0.004)]
    threads = [
        threading.Thread(target=forever, args=(host, port, steps, pause, stop))
        for steps, pause in work
    ]
    for thread in threads:
        thread.start()
    # Our standard input ends with the process that started us, however that one ends.
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
