"""
kill -9 of Redis under AOF and of the daemon.

Ground truth of the writes is the append-only file: each committed write is one SET of a record that carries its
write id. So an acknowledged write has to be there exactly once, an indeterminate one at most once (and exactly
once when its retry was answered), any other not at all.

With `appendfsync everysec` Redis may answer before it has written to the file at all: while an fsync is under way
in the background it holds its own write back, for up to 2 s. What it holds is lost with the process. So that
trial counts what is lost and requires the rest: nothing twice, nothing that was refused, nothing older once it is
read.
"""
import collections
import glob
import os
import threading
import time

from trial_rig import KEY, OK, SECOND, PrivateRedis, Reader, Row, boot_ns, dcache, preferred, seeded
from trial_rig import set_until_accepted, start_daemon

WRITE_ID = slice(72, 104)  # of a record, see daemon/redis/record.h
DUPLICATE, INDETERMINATE = dcache.Result.DUPLICATE, dcache.Result.E_INDETERMINATE
Attempt = collections.namedtuple("Attempt", "key value version written")


class AppendOnlyFile:
    """The incremental file of a Redis that never rewrites it; counts write ids as they come."""

    def __init__(self, redis):
        self.folder, self.offset, self.commits = os.path.join(redis.dir, "appendonlydir"), 0, collections.Counter()

    def read_on(self):
        """What was appended since the last time. A command that is not whole yet is left for the next time."""
        path, = glob.glob(os.path.join(self.folder, "*.incr.aof"))
        with open(path, "rb") as f:
            f.seek(self.offset)
            data = f.read()
        at = 0
        while True:
            words, end = self._command(data, at)
            if words is None:
                break
            if words[0].upper() == b"SET" and words[1].startswith(b"dc:{0}:"):
                self.commits[words[2][WRITE_ID]] += 1
            at = end
        self.offset += at

    @staticmethod
    def _command(data, at):
        def line(start):
            end = data.find(b"\r\n", start)
            return (None, start) if end < 0 else (data[start:end], end + 2)
        head, at = line(at)
        if head is None:
            return None, at
        words = []
        for _ in range(int(head[1:])):
            size, at = line(at)
            if size is None or at + int(size[1:]) + 2 > len(data):
                return None, at
            words.append(data[at:at + int(size[1:])])
            at += int(size[1:]) + 2
        return words, at


class Writer(threading.Thread):
    """Writes as fast as it can, half of it without a version, until `ends`; keeps what it was told."""

    def __init__(self, socket, name, round_number):
        super().__init__()
        self.socket, self.prefix, self.round = socket, name, round_number
        self.attempts, self.ends = [], threading.Event()

    def run(self):
        with dcache.Client(self.socket) as client:
            number = 0
            while not self.ends.is_set():
                number += 1
                key, value = f"{self.prefix}-{number % 5}", f"{self.prefix} {self.round} {number}"
                version = 0 if number % 5 < 3 else self.round * 1_000_000 + number
                written = client.set(key, value, version)
                self.attempts.append(Attempt(key, value, version, written))
                if written.result not in (OK, INDETERMINATE):
                    time.sleep(0.005)


def check_round(row, number, redis, pods, attempts, log, lossless):
    """
    After a restart: retries what is indeterminate, then compares everything with the file and with all pods. Gives
    the number of acknowledged writes that are lost, which is a failure if `lossless`.
    """
    newest, wanted, lost = {}, {}, 0
    with redis.client() as store, dcache.Client(pods[0].socket) as client:
        for attempt in attempts:
            if attempt.written.result == INDETERMINATE:
                again = client.set(attempt.key, attempt.value, attempt.version, retry=True,
                                   write_id=attempt.written.write_id)
                expected = (1, 1) if again.result in (OK, DUPLICATE) else (0, 1)
                version = again.version
            else:
                expected = (1, 1) if attempt.written.result == OK else (0, 0)
                version = attempt.written.version
            wanted[attempt.written.write_id.hex().encode()] = (expected, attempt, version)
        while store.info("persistence")["aof_buffer_length"] > 0:  # the retries may be held back, too
            time.sleep(0.002)
        log.read_on()
        for write_id, ((least, most), attempt, version) in wanted.items():
            commits = log.commits[write_id]
            if commits < least:
                lost += 1
            if commits > most or (commits < least and lossless):
                row.fail(f"kill {number}: {attempt} was committed {commits} times", counts=False)
            if least and (commits or lossless):
                newest[attempt.key] = max(newest.get(attempt.key, 0), version)
        for key, version in newest.items():
            stored = int((store.get("dc:{0}:" + key) or b"0" * 20)[1:20])
            if stored < version:
                row.fail(f"kill {number}: {key} is stored at {stored}, acknowledged was {version}", counts=False)
    for pod in pods:
        with dcache.Client(pod.socket, timeout_ms=5000) as client:
            for key, version in newest.items():
                reading = client.get(key)
                if reading.result != OK or reading.version < version:
                    row.fail(f"kill {number}: {key} reads as {reading}, acknowledged was {version}", counts=False)
    return lost


def wait_for_writes(pods):
    for pod in pods:
        pod.wait_until(lambda p=pod: p.status()["ready"] and p.status()["writes_ok"], 10)


def aof_kill(count, seed=1, appendfsync="always"):
    """kill -9 of Redis under writes of six clients on three daemons: no acknowledged write is lost."""
    row = Row(f"aof-kill, appendfsync {appendfsync}: from the kill until all pods take writes")
    rng, outcomes, lost = seeded("aof", seed), collections.Counter(), []
    with PrivateRedis(appendonly="yes", appendfsync=appendfsync, auto_aof_rewrite_percentage=0) as redis:
        pods = [start_daemon(redis.socket, f"pod-{i}") for i in range(3)]
        log = AppendOnlyFile(redis)
        try:
            for number in range(count):
                writers = [Writer(pods[i % 3].socket, f"w{i}", number + 1) for i in range(6)]
                for writer in writers:
                    writer.start()
                time.sleep(rng.uniform(0.03, 0.3))
                before = boot_ns()
                redis.restart(kill=True)
                wait_for_writes(pods)
                row.add(boot_ns() - before)
                for writer in writers:
                    writer.ends.set()
                for writer in writers:
                    writer.join(10)
                attempts = [attempt for writer in writers for attempt in writer.attempts]
                outcomes.update(attempt.written.result.name for attempt in attempts)
                lossless = appendfsync == "always"
                lost.append(check_round(row, number, redis, pods, attempts, log, lossless))
        finally:
            for pod in pods:
                pod.remove()
    row.remarks.append("writes: " + ", ".join(f"{n} {name}" for name, n in outcomes.most_common())
                       + f"; acknowledged and lost: {sum(lost)}, by {sum(map(bool, lost))} kills of {len(lost)}")
    if not outcomes["OK"] or not sum(log.commits.values()) or (count >= 20 and not outcomes["E_INDETERMINATE"]):
        row.fail("no kill hit a write under way", counts=False)
    return [row]


def aof_kill_everysec(count, seed=1):
    """The same with everysec: counts what is lost; nothing is committed twice or against its answer."""
    return aof_kill(count, seed, "everysec")


# ---- the daemon -----------------------------------------------------------------------------------------------

class Supervisor(threading.Thread):
    """Starts the daemon again at once when it has died, as systemd does with RestartSec=0."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.subject, self.ends, self.starts = daemon, False, 0

    def run(self):
        while True:
            self.subject.process.wait()
            if self.ends:
                return
            self.subject.process = None
            self.subject.spawn()
            self.starts += 1


class Counting(threading.Thread):
    """Writes rising versions of one key; `acknowledged` has (when, version)."""

    def __init__(self, socket):
        super().__init__()
        self.socket, self.ends, self.acknowledged = socket, threading.Event(), []

    def run(self):
        version = 1
        with dcache.Client(self.socket) as client:
            while not self.ends.is_set():
                version += 1
                if client.set(KEY, f"value{version}", version).result == OK:
                    self.acknowledged.append((boot_ns(), version))
                time.sleep(0.002)


def check_versions(row, runs, acknowledged):
    """RYW and MONO: a get sees what was acknowledged, or read, before it was invoked."""
    at, floor, seen = 0, 0, 0
    for run in runs:
        if run.result != OK:
            continue
        # The last get of the run is the one with the most to see.
        while at < len(acknowledged) and acknowledged[at][0] < run.last_invoked:
            floor, at = max(floor, acknowledged[at][1]), at + 1
        if run.version < floor:
            row.fail(f"version {run.version} was read after {floor} was acknowledged", counts=False)
        if run.version < seen:
            row.fail(f"version {run.version} was read after {seen}", counts=False)
        seen = max(seen, run.version)


@preferred()
def daemon_kill(count, seed=1):
    """kill -9 of the daemon under load, started again at once: from the kill until a read is served."""
    row = Row("daemon-kill, until the next read is served", SECOND)
    rng = seeded("kill", seed)
    with PrivateRedis() as redis, start_daemon(redis.socket) as daemon:
        with dcache.Client(daemon.socket) as client:
            set_until_accepted(client, "value1", version=1)
        writer, supervisor = Counting(daemon.socket), Supervisor(daemon)
        with Reader(daemon.socket) as reader, Reader(daemon.socket, depth=16, pause_us=200):
            writer.start()
            supervisor.start()
            try:
                for number in range(count):
                    assert reader.reads_now(lambda run: run.result == OK and run.hit_at), reader.runs[-3:]
                    time.sleep(rng.uniform(0, 0.2))
                    mark, before, starts = reader.mark(), boot_ns(), supervisor.starts
                    daemon.process.kill()
                    while supervisor.starts == starts:
                        time.sleep(0.001)
                    restarted = boot_ns()
                    served = reader.wait(lambda run: run.result == OK and run.first_returned > restarted, mark)
                    if not served:
                        row.fail(f"kill {number}: no read within 10 s")
                        break
                    row.add(served.first_returned - before, f"(kill {number})")
            finally:
                writer.ends.set()
                writer.join(10)
                supervisor.ends = True
                reader.stop()
        check_versions(row, reader.runs, writer.acknowledged)
        row.remarks.append(f"{len(writer.acknowledged)} acknowledged writes, {reader.total.reads} reads of the "
                           f"one reader, {reader.total.reads - reader.total.good} of them without a value")
    return [row]
