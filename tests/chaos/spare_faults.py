"""
F20, F21, F24, F25, F26: faults whose effects are counted exactly, so they have a pod to themselves: its own Redis,
link and daemon, untouched by the faults that run beside them.
"""
import contextlib
import functools
import itertools
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import msgpack

from daemon import PATIENCE, Client, Daemon, RpcError, build_dir
from fault import Fault
from private_redis import PrivateRedis
from programs import start_redis
from proxy import DATA, TO_CLIENT
from proxy_process import ProxyProcess
from waited import PREFERRED, Held
from world import expect_bounded

# What a daemon may take that nothing is wrong with, on a machine that is busy, beside what it was held back; and
# how long it is waited for until that is measured. Picked.
PROMPT, PATIENT = 1.0 * PATIENCE, 20.0 * PATIENCE


class Spare:
    """A pod to itself. What fails here is a violation, since nothing else is wrong."""

    def __init__(self, violation):
        self._stack = contextlib.ExitStack()
        try:
            self._start(violation)
        except BaseException:
            self._stack.close()
            raise

    def _start(self, violation):
        self.dir = tempfile.mkdtemp(prefix="dc-")
        self._stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
        self.redis = PrivateRedis(server=[*PREFERRED, "redis-server"])
        self._stack.callback(self.redis.remove)
        start_redis(self.redis)
        self.link = ProxyProcess(self.redis.socket, os.path.join(self.dir, "link"))
        self._stack.callback(self.link.close)
        self.daemon = Daemon(redis=self.link.address, pod="spare", dir=self.dir, prefix=PREFERRED, config={
            "limits": {"connections": 1200}, "log": {"level": "warning"}, "cache": {"max_memory": 32 << 20}})
        self._stack.callback(self.daemon.kill)
        try:
            self.daemon.start(timeout=60 * PATIENCE)
        except AssertionError as e:
            violation("RESTART", f"a spare daemon does not start beside a Redis that answers: {e}")
            raise

    def close(self):
        status = self.daemon.stop()
        self._stack.close()
        return status


class SpareFault(Fault):
    def __init__(self, world, rng, lane=0):
        super().__init__(world, rng, lane)
        self.spare = Spare(world.violation)

    def undo(self):
        beyond = expect_bounded(self.spare.daemon, self.world.violation)
        self.world.figure("highest memory of a daemon beyond its cache, MiB", beyond)
        status = self.spare.close()
        if status != 0:
            self.world.violation("NOCRASH", f"{self.number}: the spare daemon ended with {status}")

    def answers(self, promise, client=None):
        """The daemon serves others."""
        waits = self.waiting()
        try:
            with client or self.spare.daemon.client(PATIENT) as other:
                good = other.call("ping") == "pong"
        except (OSError, EOFError):
            good = False
        if not good or waits() > PROMPT:
            self.world.violation(promise, f"{self.number}: another client waited {waits():.3f} s")

    def waiting(self):
        """A clock that stands still while the machine holds back the daemon or the runner."""
        begin, held = time.monotonic(), Held(self.spare.daemon.process.pid)
        return lambda: time.monotonic() - begin - held()


class NoDescriptors(SpareFault):
    number, title, endangers = "F20", "no descriptors left: accept fails", "ISOL BOUNDMEM"
    gap = (0.05, 0.3)

    def once(self):
        daemon = self.spare.daemon
        with daemon.client(PATIENT) as old:
            before = old.call("stats")
            limits = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
            used = len(os.listdir(f"/proc/{daemon.process.pid}/fd"))
            waiting = []
            try:
                resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
                for _ in range(10):
                    waiting.append(Client(daemon.socket, PATIENT))
                    self._ask(waiting[-1])
                if old.call("ping") != "pong":
                    self.world.violation("ISOL", "F20: an older client is not answered")
                after = old.call("stats")
                self.pause(0.01, 0.2)
            finally:
                resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limits)
            try:
                waits = self.waiting()
                for client in waiting:
                    self._end_of_waiting(client, waits)
            finally:
                for client in waiting:
                    client.close()
        return after["accept_errors"] + after["accept_pauses"] > before["accept_errors"] + before["accept_pauses"]


    @staticmethod
    def _ask(client):
        try:
            client.send("ping")
        except ConnectionError:
            pass  # closed already: there is no room

    def _end_of_waiting(self, client, waits):
        """Answered, or told that there is no room by a closed connection."""
        try:
            client.receive()
        except (ConnectionError, EOFError):
            pass
        except OSError as e:
            self.world.violation("ISOL", f"F20: one that waited for a descriptor heard nothing: {e}")
        if waits() > PROMPT:
            self.world.violation("ISOL", f"F20: one that waited for a descriptor waited {waits():.3f} s")


class FailingAllocations(Fault):
    """
    A daemon per injection, whose n-th allocation fails, once or for ever. It may end with an error or go on; it
    must not die of a signal, and what it answers has to be right.
    """
    number, title, endangers = "F21", "n-th allocation fails, once and for ever, for all n", "GAP0 NOCRASH"
    gap = (0.02, 0.1)
    slow = True
    variants = ("once", "for ever")
    turns = {variant: itertools.count() for variant in variants}  # over the whole run
    # Ended in order, could not start, libuv gave up, or our SIGTERM came before anything listened to it.
    good_ends = (0, os.EX_UNAVAILABLE, os.EX_OSERR, os.EX_CONFIG, 1, -signal.SIGTERM)

    def __init__(self, world, rng, lane=0):
        super().__init__(world, rng, lane)
        self.dir = tempfile.mkdtemp(prefix="dc-")
        self.store = start_redis(PrivateRedis())
        self.count, _ = self._live(0, False)

    def undo(self):
        self.store.remove()
        shutil.rmtree(self.dir, ignore_errors=True)

    def once(self):
        turn = next(self.turns[self.variant])
        n = 1 + turn % self.count
        _, failed = self._live(n, self.variant == "for ever")
        self.world.figure("F21: allocations of a daemon's life", self.count)
        self.world.figure(f"{self.name}: highest n", n)
        return failed > 0

    def _live(self, n, forever):
        """Start, a few operations, end. How many allocations were asked for, and how many failed."""
        report = os.path.join(self.dir, "report")
        env = {"LD_PRELOAD": os.path.join(build_dir(), "tests", "chaos", "failing_malloc.so"),
               "FAILING_MALLOC_AT": str(n), "FAILING_MALLOC_REPORT": report}
        if forever:
            env["FAILING_MALLOC_FOREVER"] = "1"
        with open(report, "wb"):
            pass
        name = f"{n}{' and all later' if forever else ''}"
        daemon = Daemon(redis=self.store.socket, pod="poor", dir=self.dir, env=env, config={
            "log": {"level": "warning"}, "cache": {"max_memory": "4M"}})
        process = daemon.spawn().process
        try:
            self._use(daemon, name)
            status = process.poll()
            if status is None:
                process.terminate()
                status = self._end_of(process)
        finally:
            process.kill()
            process.wait()
        if status not in self.good_ends:
            self.world.violation("NOCRASH", f"F21: allocation {name}: ended with {status}: {daemon.log()[-300:]}")
        with open(report, "rb") as f:
            said = f.read().split()
        numbers = [int(part) for part in said if part.isdigit()]
        return (numbers[-1] if numbers else 0), sum(part.count(b"x") for part in said)

    @staticmethod
    def _end_of(process):
        """Within 5 s, not counting what the machine held back: daemons of pods go before this one."""
        begin, held = time.monotonic(), Held(process.pid)
        while time.monotonic() - begin < 5 + held():
            try:
                return process.wait(0.1)
            except subprocess.TimeoutExpired:
                pass
        return "no end"

    def _use(self, daemon, name):
        deadline = time.monotonic() + 0.4
        while not os.path.exists(daemon.socket) and daemon.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        value = f"value of {name}".encode() * 20
        for _ in range(3):
            try:
                with daemon.client(0.3) as client:
                    for number in range(10):
                        self._set_and_get(client, f"{name}/{number}".encode(), value)
                    client.call("mget", [b"a", b"b", f"{name}/1".encode()])
                    client.call("stats")
                    return
            except (OSError, EOFError, RpcError):
                if daemon.process.poll() is not None:
                    return

    def _set_and_get(self, client, key, value):
        accepted = self._tried(client.set, key, value)
        got = self._tried(client.get, key)
        if got and got["value"] and bytes(got["value"]) != value:
            self.world.violation("NOGARB", f"F21: {key}: {got['value']}")
        if accepted and accepted["outcome"] == 0 and got and got["state"] == 0:
            self.world.violation("RYW", f"F21: {key} is absent after an acknowledged set")

    @staticmethod
    def _tried(call, *args):
        try:
            return call(*args)
        except Exception as e:  # pylint: disable=broad-except
            if isinstance(e, (OSError, EOFError)):
                raise
            return None


class ClientDies(SpareFault):
    """At every byte of a stream of requests, one after the other; some while a fetch of theirs is under way."""
    number, title = "F24", "client dies at every protocol byte; closes while its fetch runs"
    endangers = "ISOL BOUNDMEM"
    gap = (0.02, 0.08)
    variants = (*["at a byte"] * 3, "at a byte, half closed", "while its fetch runs")
    laps = itertools.count()  # over the whole run

    def __init__(self, world, rng, lane=0):
        super().__init__(world, rng, lane)
        self.stream = b"".join(msgpack.packb([0, n, method, params], use_bin_type=True) for n, (method, params) in
                               enumerate([("ping", []), ("get", [b"key"]), ("set", [b"key", b"v" * 40]),
                                          ("mget", [[b"a", b"b"]]), ("get", [b"k", {"strong": True}]),
                                          ("watch", [b""]), ("delete", [b"key"]), ("status", [])], 1))
        self.looks = self.spare.daemon.client(PATIENT)

    def undo(self):
        self.looks.close()
        super().undo()

    def once(self):
        """The effect: the daemon had the connection, and has let it go."""
        lap = next(self.laps)
        alone = self._stats()["connections"]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENT)
            sock.connect(self.spare.daemon.socket)
            sock.sendall(self.stream[:1 + lap % len(self.stream)])
            had = self._comes(lambda stats: stats["connections"] > alone)
            if self.variant == "while its fetch runs":
                had = had and self._die_fetching(b"never:%d" % lap)
            elif self.variant == "at a byte, half closed":
                sock.shutdown(socket.SHUT_WR)
        self.answers("ISOL")
        gone = self._comes(lambda stats: stats["connections"] <= alone)
        if not gone:
            self.world.violation("BOUNDMEM", f"F24: {self._stats()['connections']} connections, not {alone}")
        return had and gone

    def _die_fetching(self, key):
        """Redis' answer is held back until after."""
        before = self._stats()["fetches"]
        self.spare.link.stall(DATA, TO_CLIENT)
        try:
            with self.spare.daemon.client(PATIENT) as dying:
                dying.send("get", key)
                return self._comes(lambda stats: stats["fetches"] > before)
        finally:
            self.spare.link.resume(DATA, TO_CLIENT)

    def _stats(self):
        return self.looks.call("stats")

    def _comes(self, condition):
        waits = self.waiting()
        while not condition(self._stats()):
            if waits() > PROMPT:
                return False
            time.sleep(0.002)
        return True


class ManyMiss(SpareFault):
    number, title, endangers = "F25", "1000 clients miss one key", "one fetch"
    gap = (0.05, 0.3)
    lap = 0

    def __init__(self, world, rng, lane=0):
        super().__init__(world, rng, lane)
        self.clients = [Client(self.spare.daemon.socket, PATIENT) for _ in range(1000)]
        self.store = self.spare.redis.client()
        self.clients[0].set(b"pattern", b"value")

    def undo(self):
        for client in self.clients:
            client.close()
        super().undo()

    def once(self):
        self.lap += 1
        self.store.copy("dc:{0}:pattern", "dc:{0}:miss:%d" % self.lap)  # a record does not name its key
        before = self.spare.daemon.stats()
        self.spare.link.stall(DATA, TO_CLIENT)
        try:
            numbers = [client.send("get", b"miss:%d" % self.lap) for client in self.clients]
        finally:
            self.spare.link.resume(DATA, TO_CLIENT)
        for client, number in zip(self.clients, numbers):
            client.receive_answer(number)
        after = self.spare.daemon.stats()
        fetches, joined = after["fetches"] - before["fetches"], after["fetches_joined"] - before["fetches_joined"]
        if fetches > 1 + after["generations"] - before["generations"]:
            self.world.violation("one fetch", f"F25: {fetches} fetches of one key")
        return joined > 100


@functools.lru_cache
def colliding_keys(count):
    """And how much longer they take than others where the secret is known. It takes a second to find them."""
    tool = os.path.join(build_dir(), "tests", "chaos", "colliding_keys")
    ratio, *keys = subprocess.run([tool, str(count)], check=True, stdout=subprocess.PIPE).stdout.split()
    return keys, float(ratio)


class Collisions(SpareFault):
    """
    CPU time of the daemon for keys that collide where the secret is known, against as many others. That they do
    collide is shown by the daemon's table with that secret: else it would prove nothing.
    """
    number, title, endangers = "F26", "keys chosen to collide", "< 2x the time of random keys"
    gap = (0.5, 1.0)
    long = True
    count, batch, rounds = 2048, 256, 4

    def __init__(self, world, rng, lane=0):
        super().__init__(world, rng, lane)
        self.chosen, self.known = colliding_keys(self.count)
        self.others = [b"collide:%012d" % self.rng.randrange(10 ** 12) for _ in range(self.count)]
        self.client = self.spare.daemon.client()
        for keys in (self.chosen, self.others):
            for key in keys:
                self.client.send("set", key, b"x")
            for _ in keys:
                self.client.receive()

    def undo(self):
        self.client.close()
        super().undo()

    def once(self):
        times = {"chosen": 0, "others": 0}
        for _ in range(self.rounds):
            for name, keys in (("chosen", self.chosen), ("others", self.others)):
                times[name] += self._cpu_of(keys)
        ratio = times["chosen"] / times["others"]
        if ratio >= 2:
            self.world.violation("collisions", f"F26: chosen keys take {ratio:.2f} times the time of others")
        self.world.figure("F26 time of colliding keys / others", ratio)
        self.world.figure("F26 the same where the secret is known", self.known)
        return self.known > 2

    def _cpu_of(self, keys):
        begin = self._cpu_ns()
        for at in range(0, len(keys), self.batch):
            self.client.call("mget", keys[at:at + self.batch])
        return self._cpu_ns() - begin

    def _cpu_ns(self):
        with open(f"/proc/{self.spare.daemon.process.pid}/schedstat", encoding="ascii") as f:
            return int(f.read().split()[0])


FAULTS = [NoDescriptors, FailingAllocations, ClientDies, ManyMiss, Collisions]
