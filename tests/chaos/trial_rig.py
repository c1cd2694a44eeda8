"""What the measured trials share: the clock, the application that reads, the table."""
import collections
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

# pylint: disable=wrong-import-position
import dcache
from daemon import PATIENCE, Daemon, build_dir
from private_redis import PrivateRedis
from proxy import Proxy

MS = 1_000_000
SECOND = 1000 * MS
D_MS = 250                       # the staleness bound of the trials, unless one says otherwise
H = D_MS * MS // 4               # the heartbeat that follows from it
KEY = "k"
OK, ABSENT = int(dcache.Result.OK), int(dcache.Result.ABSENT)


def boot_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def config(bound_ms=D_MS, **sections):
    return {"staleness": {"bound": f"{bound_ms}ms"}, "log": {"level": "info"}, **sections}


def start_daemon(address, pod="pod-a", bound_ms=D_MS, ready=True, **options):
    """address: path of a Unix socket. Removed by its `remove`, or as a context manager."""
    return Daemon(redis=address, pod=pod, config=config(bound_ms), **options).start(ready=ready)


# ---- what is measured ---------------------------------------------------------------------------------------

class Row:
    """
    One line of the table: what was measured, in ns, with its limit. `wrong` is what must never happen, `late` what
    was measured above the limit. strict: above the limit is wrong, on however slow a machine; otherwise a daemon
    under sanitizers gets PATIENCE times as long.
    """

    def __init__(self, name, limit=None, strict=False):
        self.name, self.strict = name, strict
        self.limit = limit if limit is None or strict else limit * PATIENCE
        self.values, self.wrong, self.late, self.remarks = [], [], [], []
        self.count = 0

    @property
    def failures(self):
        return self.wrong + self.late

    def add(self, value, context=""):
        self.count += 1
        self.values.append(value)
        if self.limit is not None and value > self.limit:
            (self.wrong if self.strict else self.late).append(
                f"{value / MS:.2f} is above {self.limit / MS:.2f} {context}")

    def fail(self, text, counts=True):
        self.count += counts
        self.wrong.append(text)

    def quantile(self, q):
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else None

    def cells(self):
        def text(value):
            return "-" if value is None else f"{value / MS:.2f}"
        quantiles = [text(self.quantile(q)) for q in (0, .5, .99, 1)]
        return [self.name, str(self.count), str(len(self.failures)), *quantiles, text(self.limit)]


HEAD = ["trial (ms)", "count", "failures", "min", "p50", "p99", "max", "limit"]


def print_table(rows, out=sys.stdout):
    table = [HEAD] + [row.cells() for row in rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
    for number, line in enumerate(table):
        print("| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w)
                                for i, (c, w) in enumerate(zip(line, widths))) + " |", file=out)
        if number == 0:
            print("|" + "|".join("-" * (w + 2) for w in widths) + "|", file=out)
    for row in rows:
        for text in row.remarks + row.failures[:10]:
            print(f"{row.name}: {text}", file=out)
    out.flush()


# ---- the application ----------------------------------------------------------------------------------------

class Run:
    """
    A stretch of equal readings by the same proof. hit_at: when the second one was handed over, which a cache has
    answered for certain; 0 as long as there was none. `last_*` are known once it has `ended`.
    """
    __slots__ = ("result", "as_of", "version", "value", "first_invoked", "first_returned", "hit_at", "count",
                 "last_invoked", "last_returned", "ended")

    def __init__(self, words):
        self.value = words.pop(3)
        self.result, self.as_of, self.version, self.first_invoked, self.first_returned = map(int, words)
        self.count, self.hit_at, self.ended = 0, 0, False
        self.last_invoked = self.last_returned = 0

    def __repr__(self):
        return (f"{self.result} {self.value} v{self.version} as_of={self.as_of} first={self.first_returned} "
                f"hit={self.hit_at} last={self.last_returned} count={self.count}")


Total = collections.namedtuple("Total", "reads good max_age overdue max_gap")


class Reader:
    """tests/chaos/reader.c as a process; its runs arrive as they begin and end."""

    def __init__(self, socket, key=KEY, depth=1, pause_us=100, timeout_ms=0):
        binary = os.path.join(build_dir(), "tests", "chaos", "reader")
        self.process = subprocess.Popen([binary, socket, key, str(depth), str(pause_us), str(timeout_ms)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.runs, self.total, self.started = [], None, False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        for line in self.process.stdout:
            kind, *words = line.split()
            with self._condition:
                if kind == "begin":
                    self.runs.append(Run(words))
                elif kind == "started":
                    self.started = True
                elif kind == "hit":
                    self.runs[-1].hit_at = int(words[0])
                elif kind == "end":
                    run = self.runs[-1]
                    run.count, run.last_invoked, run.last_returned = map(int, words)
                    run.ended = True
                else:
                    self.total = Total(*map(int, words))
                self._condition.notify_all()

    def wait(self, wanted, start=0, timeout=10):
        """The first run from number `start` on that is wanted(run); None after the timeout."""
        with self._condition:
            def found():
                return next((run for run in self.runs[start:] if wanted(run)), None)
            return self._condition.wait_for(found, timeout)

    def reads_now(self, wanted, timeout=10):
        """Until what is read at this moment is wanted(run)."""
        with self._condition:
            return self._condition.wait_for(lambda: self.runs and wanted(self.runs[-1]), timeout)

    def wait_started(self, timeout=10):
        """Until a value was read."""
        with self._condition:
            return self._condition.wait_for(lambda: self.started, timeout)

    def mark(self):
        """Number of the run that is under way: where to look for what comes now."""
        with self._condition:
            return max(0, len(self.runs) - 1)

    def since(self, start):
        with self._condition:
            return self.runs[start:]

    def stop(self):
        """The Total; every run has ended then."""
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
            self.process.wait(10)
            self._thread.join(10)
            self.process.stdout.close()
        return self.total

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None and exc[0] is not None:
            self.process.kill()
        self.stop()


class Stalls(threading.Thread):
    """For how long the machine did not let a process run that wanted to: what no daemon can make up for."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self._ends = [(0, 0)], threading.Event()  # (when it ended, ns)

    def run(self):
        script = ("import time\nnow = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)\nwhile True:\n"
                  " a = now(); time.sleep(.002); b = now()\n"
                  " if b - a > 4000000: print(b, b - a, flush=True)\n")
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=lambda: (self._ends.wait(), process.kill()), daemon=True).start()
        for line in process.stdout:
            self.seen.append(tuple(map(int, line.split())))
        process.wait()
        process.stdout.close()

    def worst_ms(self, since=0):
        return max((ns for end, ns in list(self.seen) if end >= since), default=0) / MS

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self._ends.set()
        self.join(10)


def set_until_accepted(client, value, key=KEY, timeout=10, **options):
    """A write after a fault: the store may not take writes yet."""
    deadline = time.monotonic() + timeout
    while True:
        written = client.set(key, value, **options)
        if written.result == OK:
            return written
        assert time.monotonic() < deadline, (written, client.error())
        time.sleep(0.005)


@contextlib.contextmanager
def preferred():
    """
    What is started here goes before other work of this machine, where that is permitted. (A nice value would not
    do: it counts within one session only.)
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def short_folder():
    """A folder whose path leaves room for the name of a socket."""
    return tempfile.TemporaryDirectory(prefix="dct-")


def seeded(name, seed):
    return random.Random(f"{name} {seed}")
