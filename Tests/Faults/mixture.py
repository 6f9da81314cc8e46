"""Clients that write each id once, in every way in which a command can be sent in front of a cluster.

A write appends its own id to a list, so one that runs twice is seen as the same id twice, and one
that is lost is seen as well.
"""

import hashlib
import itertools
import random
import re
from collections import Counter
from dataclasses import dataclass, field

from harness.cluster import key_in
from harness.ledger import Crowd
from harness.wire import ErrorReply, encode

APPEND = "return redis.call('RPUSH', KEYS[1], ARGV[1])"
SHA = hashlib.sha1(APPEND.encode()).hexdigest()
# Writes to all keys, one after the other.
SEVERAL = "for _, key in ipairs(KEYS) do redis.call('RPUSH', key, ARGV[1]) end return #KEYS"
# Fails when it has written: the second key is in another slot, and EVAL does not name it.
HALF_WAY = "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.call('RPUSH', ARGV[2], ARGV[1])"
# Has written, and says what a node says that has not.
MADE_UP = "redis.call('RPUSH', KEYS[1], ARGV[1]) return redis.error_reply(ARGV[2])"
LIBRARY = (
    "#!lua name=mixture\n"
    "redis.register_function('append', function(keys, arguments)\n"
    "  return redis.call('RPUSH', keys[1], arguments[1])\n"
    "end)\n"
    "redis.register_function('half_way', function(keys, arguments)\n"
    "  redis.call('RPUSH', keys[1], arguments[1])\n"
    "  return redis.call('RPUSH', arguments[2], arguments[1])\n"
    "end)\n")

NOT_LOCAL = re.compile(rb"non local key|do not hash to the same slot")
# Errors of Redpool's and of nodes that say that nothing has run.
NOTHING_RAN = re.compile(
    rb"(UPSTREAMDOWN|CLUSTERDOWN|POOLTIMEOUT|PINLIMIT|EXECABORT|NOSCRIPT|TRYAGAIN Multiple)\b"
    rb"|.* did not run$")
UNKNOWN = re.compile(rb"UPSTREAMLOST|.*it is not known whether the script has run$")


@dataclass
class Write:
    """What is known of an id: until there is a reply it may have run, once."""

    kind: str
    keys: tuple
    least: int = 0
    most: int = 1
    replies: list = field(default_factory=list)


class Mixture(Crowd):
    """Clients that share the lists of `slots`. `told` has the words of errors, `commands` is how many
    commands there were."""

    def __init__(self, address, clients, slots, *, seed, functions=True, splits=False):
        super().__init__(address, clients)
        self.slots = slots
        self.commands = 0
        self.told = Counter()
        self._wrong = []
        self._writes = {}
        self._popped = set()
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._ways = [
            self._plain, self._script, self._sha, self._several, self._half_way, self._made_up,
            self._pipeline, self._pipeline, self._block, self._steps, self._watched,
            self._popped_again, self._split]
        # A script that can make up replies has a connection of its own, so a client with a state on
        # another node cannot have it.
        self._beside = [self._plain] if splits else [self._plain, self._script, self._half_way]
        if functions:
            self._ways += [self._function, self._half_way_function]

    async def round(self, index, client):
        await self._random.choice(self._ways)(index, client)
        return True

    # What has to be in the lists

    def _key(self, name="l", slot=None) -> str:
        return key_in(self._random.choice(self.slots) if slot is None else slot, name)

    def _other(self) -> str:
        """A key that a script does not name. A node does not look whether the slot of such a key is
        on its way: it would make the key anew, and the slot could not be moved any more."""
        return key_in(self._random.choice(self.slots) + 1, "other")

    def _name(self, kind, *keys) -> bytes:
        """A new id."""
        name = b"%d" % next(self._numbers)
        self._writes[name] = Write(kind, keys)
        return name

    def _ran(self, name):
        self._writes[name].least = 1

    def _tell(self, reply):
        self.told[re.sub(rb"[0-9]+", b"N", bytes(reply))[:90]] += 1

    def _failed(self, name, reply):
        """The command is answered with something that is no success."""
        write = self._writes[name]
        write.replies.append(reply)
        if isinstance(reply, ErrorReply):
            self._tell(reply)
            if NOTHING_RAN.match(reply):
                write.most = 0
                return
            if UNKNOWN.match(reply):
                return
        self._wrong.append((name, write))

    def _judge(self, name, reply):
        """The reply to a command that returns a number."""
        if isinstance(reply, int):
            self._ran(name)
        else:
            self._failed(name, reply)

    def _judge_half(self, name, reply):
        if isinstance(reply, int) or isinstance(reply, ErrorReply) and NOT_LOCAL.search(reply):
            self._ran(name)
        else:
            self._failed(name, reply)

    async def _ask(self, client, *words):
        self.commands += 1
        return await client.command(*words, timeout=60)

    # One command

    async def _plain(self, _, client):
        key = self._key()
        name = self._name("RPUSH", key)
        self._judge(name, await self._ask(client, "RPUSH", key, name))

    async def _script(self, _, client):
        key = self._key()
        name = self._name("EVAL", key)
        self._judge(name, await self._ask(client, "EVAL", APPEND, 1, key, name))

    async def _sha(self, _, client):
        key = self._key()
        name = self._name("EVALSHA", key)
        reply = await self._ask(client, "EVALSHA", SHA, 1, key, name)
        if isinstance(reply, ErrorReply) and reply.startswith(b"NOSCRIPT"):
            reply = await self._ask(client, "EVAL", APPEND, 1, key, name)
        self._judge(name, reply)

    async def _function(self, _, client):
        key = self._key()
        name = self._name("FCALL", key)
        self._judge(name, await self._ask(client, "FCALL", "append", 1, key, name))

    async def _several(self, _, client):
        slot = self._random.choice(self.slots)
        keys = [self._key(one, slot) for one in ("l", "m", "n")]
        name = self._name("EVAL of several keys", *keys)
        self._judge(name, await self._ask(client, "EVAL", SEVERAL, 3, *keys, name))

    # Scripts that fail when they have written

    async def _half_way(self, _, client):
        key = self._key()
        name = self._name("half an EVAL", key)
        reply = await self._ask(client, "EVAL", HALF_WAY, 1, key, name, self._other())
        self._judge_half(name, reply)

    async def _half_way_function(self, _, client):
        key = self._key()
        name = self._name("half an FCALL", key)
        reply = await self._ask(client, "FCALL", "half_way", 1, key, name, self._other())
        self._judge_half(name, reply)

    def _made(self):
        """What a script makes up. Of its own slot it says nothing: a move of that cannot be told
        from it."""
        return self._random.choice(
            ["MOVED 16383 127.0.0.1:1", "ASK 16383 127.0.0.1:1", "TRYAGAIN later",
             "CLUSTERDOWN later", "READONLY later"])

    def _judge_made(self, name, reply, text):
        if isinstance(reply, ErrorReply) and reply == text.encode():
            self._ran(name)
        else:
            self._failed(name, reply)

    async def _made_up(self, _, client):
        key, text = self._key(), self._made()
        name = self._name(f"EVAL: {text}", key)
        self._judge_made(
            name, await self._ask(client, "EVAL", MADE_UP, 1, key, name, text), text)

    # Several commands

    async def _pipeline(self, _, client):
        commands, judges = [], []
        near = self._random.choice(self.slots)
        for _ in range(self._random.randrange(2, 24)):
            key = self._key(slot=near if self._random.random() < 0.5 else None)
            kind = self._random.randrange(7)
            if kind == 0:
                commands.append(("LLEN", key))
                judges.append(None)
            elif kind == 1:
                name = self._name("EVAL in a pipeline", key)
                commands.append(("EVAL", APPEND, 1, key, name))
                judges.append((self._judge, name))
            elif kind == 2:
                text = self._made()
                name = self._name(f"EVAL in a pipeline: {text}", key)
                commands.append(("EVAL", MADE_UP, 1, key, name, text))
                judges.append((self._judge_made, name, text))
            else:
                name = self._name("RPUSH in a pipeline", key)
                commands.append(("RPUSH", key, name))
                judges.append((self._judge, name))
        self.commands += len(commands)
        client.send(b"".join(encode(*words) for words in commands))
        # What is answered is judged, also if the rest is not.
        for judge in judges:
            reply = await client.read(60)
            if judge:
                judge[0](judge[1], reply, *judge[2:])

    def _members(self, kind):
        """Members of a transaction, each with an id."""
        slot = self._random.choice(self.slots)
        first, second, third = (self._key(one, slot) for one in ("l", "m", "n"))
        names = [self._name(kind, *keys) for keys in ((first,), (second,), (first, second, third))]
        members = [
            ("RPUSH", first, names[0]), ("EVAL", APPEND, 1, second, names[1]),
            ("EVAL", SEVERAL, 3, first, second, third, names[2])]
        return names, members

    def _judge_exec(self, names, reply):
        if isinstance(reply, list):
            for name, one in zip(names, reply, strict=True):
                self._judge(name, one)
        elif reply is None:
            for name in names:
                self._writes[name].most = 0
        else:
            for name in names:
                self._failed(name, reply)

    async def _block(self, _, client):
        names, members = self._members("a member of a block")
        words = [("MULTI",), *members, ("EXEC",)]
        self.commands += len(words)
        client.send(b"".join(encode(*one) for one in words))
        replies = [await client.read(60) for _ in words]
        self._judge_exec(names, replies[-1])

    async def _steps(self, _, client):
        names, members = self._members("a member, step by step")
        if await self._ask(client, "MULTI") != b"OK":
            return
        for words in members:
            await self._ask(client, *words)
        self._judge_exec(names, await self._ask(client, "EXEC"))

    async def _watched(self, _, client):
        names, members = self._members("a member behind WATCH")
        if await self._ask(client, "WATCH", members[0][1]) != b"OK":
            return
        # Perhaps for another node, and perhaps a script.
        await self._random.choice(self._beside)(None, client)
        if await self._ask(client, "MULTI") == b"OK":
            for words in members:
                await self._ask(client, *words)
            self._judge_exec(names, await self._ask(client, "EXEC"))
        else:
            await self._ask(client, "UNWATCH")

    async def _popped_again(self, index, client):
        """A list of the client's own: what it takes comes once."""
        key = self._key(f"q{index}")
        name = self._name("RPUSH, then BLPOP")
        reply = await self._ask(client, "RPUSH", key, name)
        if not isinstance(reply, int):
            self._failed(name, reply)
            return
        reply = await self._ask(client, "BLPOP", key, "0.2")
        if isinstance(reply, list):
            if reply[1] in self._popped:
                self._wrong.append((reply[1], "taken twice"))
            self._popped.add(reply[1])
        elif reply is not None:
            self._failed(name, reply)

    async def _split(self, _, client):
        keys = [self._key("s") for _ in range(6)]
        word = self._random.choice(["MGET", "EXISTS", "TOUCH", "UNLINK"])
        reply = await self._ask(client, word, *keys)
        if isinstance(reply, ErrorReply):
            self._tell(reply)

    # At the end

    def mistakes(self, cluster, *, loses=False) -> list:
        """What is wrong with the replies and the lists. With `loses` writes may be lost, because
        primaries were killed."""
        keys = {key for write in self._writes.values() for key in write.keys}
        found = {key: Counter(cluster.command("LRANGE", key, "0", "-1")) for key in keys}
        wrong = list(self._wrong)
        for name, write in self._writes.items():
            for key in write.keys:
                times = found[key][name]
                if times > write.most or times < write.least and not loses:
                    wrong.append((name, f"{times} times in {key}", write))
        return wrong
