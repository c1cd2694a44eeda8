"""
Healing, quiet, and a stopped daemon: what AVAIL and BOUND say about one pod's reads.

A fault lasts longer than D, until reads were refused; then it is healed at a random moment. Measured is the time
from before the healing command to the first fresh answer, and to the first that the cache itself gave (the second
by the same proof). When Redis was restarted it counts from its first answer to PING.
"""
import os
import signal
import threading
import time

from trial_rig import D_MS, H, MS, OK, PrivateRedis, Proxy, Reader, Row, Stalls, boot_ns, dcache
from trial_rig import KEY, preferred, seeded, set_until_accepted, short_folder, start_daemon

HEALED = H + 100 * MS


class Stall:
    """Silent partition: nothing arrives, no error."""
    name = "silent partition"
    by_proxy = True

    def __init__(self, redis, proxy):
        self.redis, self.proxy = redis, proxy

    def begin(self):
        self.proxy.stall()

    def heal(self):
        """When the healing began."""
        before = boot_ns()
        self.proxy.heal()
        return before


class Cut(Stall):
    name = "cut and refused"

    def begin(self):
        self.proxy.refuse()
        self.proxy.cut()


class Stop(Stall):
    name = "Redis stopped"
    by_proxy = False

    def begin(self):
        self.redis.pause()

    def heal(self):
        before = boot_ns()
        self.redis.resume()
        return before


class Restart(Stall):
    name = "Redis killed, restarted"
    by_proxy = False

    def begin(self):
        self.redis.kill()

    def heal(self):
        self.redis.start(wait=False)
        while not self.redis._answers():  # pylint: disable=protected-access
            time.sleep(0.0005)
        return boot_ns()


FAULTS = (Stall, Cut, Stop, Restart)


@preferred()
def healing(count, seed=1):
    """A fault longer than D, healed at a random moment: the first fresh read and the first hit."""
    rows = {}
    rng = seeded("healing", seed)
    with short_folder() as folder, PrivateRedis(appendonly="yes", appendfsync="always") as redis, \
            Proxy(redis.socket, listen=os.path.join(folder, "proxy")) as proxy, \
            start_daemon(os.path.join(folder, "proxy"), "far") as far, \
            start_daemon(redis.socket, "near") as near, \
            dcache.Client(near.socket) as client, Reader(far.socket) as by_proxy, Reader(near.socket) as direct:
        set_until_accepted(client, "value")
        for number in range(count):
            fault = FAULTS[number % len(FAULTS)](redis, proxy)
            fresh, hit = rows.setdefault(fault.name, (Row(f"healing, {fault.name}: first fresh read", HEALED),
                                                      Row(f"healing, {fault.name}: first hit", HEALED)))
            reader = by_proxy if fault.by_proxy else direct
            assert reader.reads_now(lambda run: run.result == OK and run.hit_at), reader.runs[-3:]
            mark = reader.mark()
            time.sleep(rng.uniform(0, 2 * H / 1e9))
            fault.begin()
            if not reader.wait(lambda run: run.result < 0, mark):
                fresh.fail("the fault had no effect: no read was refused")
            time.sleep(rng.uniform(0, 3 * D_MS / 1000))
            before = fault.heal()
            first = reader.wait(lambda run: run.result == OK and run.first_returned > before, mark)
            cached = reader.wait(lambda run: run.result == OK and run.hit_at > before, mark)
            if not first or not cached:
                fresh.fail(f"trial {number}: not healed within 10 s")
                continue
            fresh.add(first.first_returned - before, f"(trial {number})")
            hit.add(cached.hit_at - before, f"(trial {number})")
    return [row for pair in rows.values() for row in pair]


# ---- no fault -------------------------------------------------------------------------------------------------

def write_now_and_then(socket, keys, ends, errors):
    with dcache.Client(socket) as client:
        number = 0
        while not ends.is_set():
            number += 1
            written = client.set(f"{KEY}{number % keys}", f"value{number}")
            if written.result != OK:
                errors.append(f"set: {written.result.name}: {client.error()}")
            time.sleep(0.01)


QUIET_D_MS = 1000  # the default: a machine shared by others holds a process back for more than 250 ms at times


@preferred()
def no_fault(count, seed=1):
    """count minutes of mixed load on three daemons with nothing wrong: no refusal, no timeout."""
    del seed  # nothing is random here
    row, keys = Row("no-fault, longest time between two answers of an application"), 20
    ends, errors = threading.Event(), []
    with PrivateRedis() as redis, Stalls() as stalls:
        pods = [start_daemon(redis.socket, f"pod-{i}", QUIET_D_MS) for i in range(3)]
        with dcache.Client(pods[0].socket) as client:
            for number in range(keys):
                set_until_accepted(client, "value", f"{KEY}{number}")
        writers = [threading.Thread(target=write_now_and_then, args=(pod.socket, keys, ends, errors))
                   for pod in pods]
        readers = [Reader(pod.socket, f"{KEY}{i}", depth=2, pause_us=1000) for pod in pods for i in range(3)]
        try:
            for writer in writers:
                writer.start()
            time.sleep(count * 60)
            ends.set()
            for writer in writers:
                writer.join(10)
            for reader in readers:
                row.add(reader.stop().max_gap)
            stats = [pod.stats() for pod in pods]
            without = sum(reader.total.reads - reader.total.good for reader in readers)
            refused = sum(stat["refused"] + stat["errors"] for stat in stats)
            if without or refused or errors:
                row.fail(f"{without} reads without a value, {refused} refused, {len(errors)} writes failed "
                         f"{errors[:3]}", counts=False)
            row.remarks.append(f"{count} min, {sum(reader.total.reads for reader in readers)} reads, "
                               f"{sum(stat['hits'] for stat in stats)} hits, {sum(s['accepted'] for s in stats)} "
                               f"writes, {refused} refused; the machine held back a process for up to "
                               f"{stalls.worst_ms():.0f} ms")
        finally:
            ends.set()
            for reader in readers:
                reader.stop()
            for pod in pods:
                pod.remove()
    return [row]


# ---- a stopped daemon -----------------------------------------------------------------------------------------

def stopped_daemon(count, seed=1):
    """SIGSTOP of 0.1 to 3 s of daemon, application or both, with answers pending: the age at the hand-over."""
    row = Row("stopped-daemon, largest age before the hand-over", D_MS * MS, strict=True)
    rng = seeded("stopped", seed)
    with PrivateRedis() as redis, start_daemon(redis.socket) as daemon, dcache.Client(daemon.socket) as client:
        set_until_accepted(client, "value")
        for number in range(count):
            with Reader(daemon.socket, depth=64, pause_us=0) as reader:
                assert reader.wait_started()
                time.sleep(rng.uniform(0.02, 0.04))
                victims = [[daemon.process], [reader.process], [daemon.process, reader.process]][number % 3]
                for victim in victims:
                    victim.send_signal(signal.SIGSTOP)
                time.sleep(0.1 * 30 ** rng.random())
                for victim in victims:
                    victim.send_signal(signal.SIGCONT)
                time.sleep(0.1)
                total = reader.stop()
            row.add(max(total.max_age, total.overdue), f"(trial {number})")
            if not total.good:
                row.fail(f"trial {number}: no value was read", counts=False)
            if total.max_gap < 90 * MS:
                row.fail(f"trial {number}: the stop had no effect", counts=False)
    return [row]
