"""
How long a loss of the store stays unseen: flush and failover, while the pod serves hits from its cache.

What is measured runs from before FLUSHALL, or the first command of the failover, was sent, until the last answer
of the old epoch was handed to the application: the time of the command itself and of the hand-over are in it.
Every heartbeat starts H after the one before, so the promise is H and one round trip. A heartbeat's timer counts
whole milliseconds (rounded up, by a clock that may be one behind), and this machine schedules four processes on
the way: NOISE is what is allowed for both.
"""
import os
import time

from trial_rig import ABSENT, H, KEY, MS, OK, PrivateRedis, Reader, Row, Stalls, boot_ns, dcache, seeded
from trial_rig import preferred, set_until_accepted, short_folder, start_daemon

NOISE = 10 * MS
RECORD = "dc:{0}:" + KEY


def last_served(runs, value, after):
    """When the value was last handed over; 0 if not after `after`."""
    return max((run.last_returned for run in runs if run.result == OK and run.value == value
                and run.last_returned > after), default=0)


@preferred()
def flush_detection(count, seed=1):
    """FLUSHALL at a random moment; a pod that may write and one that may not."""
    rows = [Row(f"flush-detection, {role}", H + NOISE) for role in ("writer", "reader")]
    rng = seeded("flush", seed)
    with PrivateRedis() as redis, start_daemon(redis.socket, "writer") as writer, \
            start_daemon(redis.socket, "reader", role="reader") as pod, redis.client() as store, \
            dcache.Client(writer.socket) as client, Stalls() as stalls, Reader(writer.socket) as first, \
            Reader(pod.socket) as second:
        readers = [first, second]
        for number in range(count):
            value = f"v{number}"
            set_until_accepted(client, value)
            for reader in readers:
                assert reader.reads_now(lambda run, v=value: run.value == v and run.hit_at), reader.runs[-3:]
            marks = [reader.mark() for reader in readers]
            time.sleep(rng.uniform(0, H / 1e9))
            before = boot_ns()
            store.flushall()
            after = boot_ns()
            for row, reader, mark in zip(rows, readers, marks):
                if not reader.wait(lambda run: run.result == ABSENT and run.first_invoked > after, mark, 5):
                    row.fail("the flush was not seen within 5 s")
                    continue
                row.add(max(0, last_served(reader.since(mark), value, before) - before),
                        f"(trial {number}; a process was held back for {stalls.worst_ms(before):.0f} ms)")
        # Nothing comes back later either.
        for row, reader in zip(rows, readers):
            reader.stop()
            order = [int(run.value[1:]) for run in reader.runs if run.result == OK]
            if order != sorted(order):
                row.fail("a value of an epoch before was served again", counts=False)
        epochs = writer.stats()["epochs"]
        if epochs < count:
            rows[0].fail(f"{count} flushes, but only {epochs} epochs", counts=False)
    return rows


class Pair:
    """Two servers, and one address that leads to the primary: a link to its socket, as DNS or a proxy would."""

    def __init__(self, folder):
        self.address = os.path.join(folder, "store")
        options = {"tcp": True, "repl_diskless_sync_delay": 0, "repl_backlog_size": "16mb"}
        self.primary, self.replica = PrivateRedis(**options).start(), PrivateRedis(**options).start()
        self.clients = {node: node.client() for node in (self.primary, self.replica)}
        self.lead_to(self.primary)
        self.follow()

    def lead_to(self, node):
        os.symlink(node.socket, self.address + ".new")
        os.replace(self.address + ".new", self.address)

    def follow(self):
        self.clients[self.replica].replicaof("127.0.0.1", self.primary.port)

    def wait_in_sync(self, timeout=20):
        deadline = time.monotonic() + timeout
        while True:
            info = self.clients[self.replica].info("replication")
            if info["role"] == "slave" and info["master_link_status"] == "up" and \
                    len({client.get(RECORD) for client in self.clients.values()}) == 1:
                return
            assert time.monotonic() < deadline, info
            time.sleep(0.002)

    def detach(self):
        """From now on the replica grows stale."""
        self.clients[self.replica].replicaof("NO", "ONE")

    def swap(self, cut):
        """
        Gives the times before the first command and after the last. The old primary becomes a replica of the new
        one. cut: it drops its clients; otherwise their connections live on.
        """
        old, new = self.primary, self.replica
        self.primary, self.replica = new, old
        self.lead_to(new)
        before = boot_ns()
        self.clients[new].replicaof("NO", "ONE")
        self.clients[old].replicaof("127.0.0.1", new.port)
        if cut:
            self.clients[old].execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            self.clients[old].execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        return before, boot_ns()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for node, client in self.clients.items():
            client.close()
            node.remove()


@preferred()
def failover_detection(count, seed=1):
    """Promotion of a current or a stale replica behind one address; connections cut, or alive."""
    rows = {(stale, cut): Row(f"failover-detection, {'stale' if stale else 'current'} replica, "
                              f"connections {'cut' if cut else 'live on'}", H + NOISE)
            for stale in (False, True) for cut in (False, True)}
    rng = seeded("failover", seed)
    with short_folder() as folder, Pair(folder) as pair, start_daemon(pair.address) as daemon, \
            dcache.Client(daemon.socket) as client, Reader(daemon.socket) as reader, daemon.client() as control, \
            Stalls() as stalls:
        for number in range(count):
            stale, cut = bool(number & 1), bool(number & 2)
            row = rows[stale, cut]
            kept, value = f"kept{number}", f"kept{number}"
            pair.wait_in_sync()
            set_until_accepted(client, kept)
            pair.wait_in_sync()
            if stale:
                value = f"lost{number}"
                pair.detach()
                set_until_accepted(client, value)
            assert reader.reads_now(lambda run: run.value == value and run.hit_at), reader.runs[-3:]
            epoch, mark = control.call("status")["epoch"], reader.mark()
            time.sleep(rng.uniform(0, H / 1e9))
            before, after = pair.swap(cut)
            # What is proven by something later than the failover is of the new epoch. (Between its commands the
            # old primary still is one.)
            new = reader.wait(lambda run: run.result == OK and run.value == kept and run.as_of > after, mark, 5)
            if not new:
                row.fail(f"trial {number}: not seen within 5 s: {reader.since(mark)[:5]}")
                continue
            runs = reader.since(mark)
            if control.call("status")["epoch"] == epoch:
                row.fail(f"trial {number}: the old epoch lives on", counts=False)
            if any(run.value != kept and run.first_returned > new.first_returned for run in runs):
                row.fail(f"trial {number}: something of the old epoch was served after the new one", counts=False)
            last = max((run.last_returned for run in runs if run.result == OK and run.as_of < after), default=0)
            row.add(max(0, last - before),
                    f"(trial {number}; a process was held back for {stalls.worst_ms(before):.0f} ms)")
    return [row for row in rows.values() if row.count]
