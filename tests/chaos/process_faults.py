"""F9, F10, F19, F22, F23: what happens to daemons, to clients and to clocks."""
import fcntl
import os
import signal
import socket
import struct
import termios
import time

import redis as redis_py

from converged import META
from daemon import ACCEPTED, DUPLICATE, FRESH, Client, RpcError
from fault import Fault


MINUTE_S = 65  # a phase that has room for a stop of a minute


def process_state(pid):
    """R, S, T (stopped), ... as /proc says."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        return f.read().rsplit(")", 1)[1].split()[0]


def stopped(pid, patience=0.05):
    """A signal is taken a moment later."""
    deadline = time.monotonic() + patience
    while process_state(pid) not in "Tt":
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


class DaemonStopped(Fault):
    number, title, endangers = "F9", "daemon stopped 0.1 .. 60 s, also between check and write", "BOUND"
    gap = (0.05, 0.4)
    lane_per_pod = True
    weights = {"shorter than D": 5, "longer than D": 2, "between check and write": 2, "for a minute": 1}
    variants = tuple(name for name, weight in weights.items() for _ in range(weight))
    burst, tries = 64, 200

    def possible(self):
        """One daemon is stopped for a minute where there is one, and the others go on."""
        minute = self.lane == 0 and self.world.phase_seconds > MINUTE_S
        return [v for v in self.variants if (v == "for a minute") == minute]

    def once(self):
        pod = self.world.pods[self.lane]
        with pod.lock:
            try:
                if self.variant == "between check and write":
                    seen = self._stop_while_answering(pod.daemon)
                else:
                    pod.daemon.pause()
                    seen = stopped(pod.daemon.process.pid)
                begun = time.monotonic()
                self.bounds()
            finally:
                pod.daemon.resume()
            lasted = time.monotonic() - begun
            self.world.figure("F9: longest stop of a daemon, s", lasted)
            if self.variant == "for a minute" and lasted < 60:
                return None
            return seen

    def bounds(self):
        bound = self.world.bound_s
        self.pause(*{"shorter than D": (0.05, 0.7 * bound), "for a minute": (60, 60)}.get(
            self.variant, (bound, 2.5 * bound)))

    def _stop_while_answering(self, daemon):
        """
        At a random moment after a burst of requests, again and again until it has taken them and answered not
        all: it stands between reading them and writing the answers, with its look at the lease in between. What it
        answers afterwards is judged by the load, which has requests of its own there.
        """
        requests = b"".join(Client.request(n, "get", b"key:%d" % n) for n in range(self.burst))
        for _ in range(self.tries):
            with daemon.client(1) as client:
                client.sock.sendall(requests)
                moment = time.perf_counter() + self.rng.uniform(0, 2e-4)
                while time.perf_counter() < moment:
                    pass
                daemon.pause()
                if stopped(daemon.process.pid) and self._taken(client) and not self._answered(client):
                    return True
            daemon.resume()
        daemon.pause()
        return False

    @staticmethod
    def _taken(client):
        """The daemon has read what was sent."""
        return struct.unpack("i", fcntl.ioctl(client.sock, termios.TIOCOUTQ, b"\0" * 4))[0] == 0

    def _answered(self, client):
        client.sock.setblocking(False)
        try:
            return sum(1 for _ in iter(client.receive, None)) == self.burst
        except BlockingIOError:
            return False


class ClientStopped(Fault):
    """A loading process with answers pending; and, as often, a client that asks for much and reads nothing."""
    number, title, endangers = "F10", "client stopped with answers pending", "ISOL BOUNDMEM"
    gap = (0.05, 0.25)
    slow = True
    variants = ("stopped", "asks and does not read")

    def once(self):
        if self.variant == "asks and does not read":
            return self._flood()
        load = self.world.loads[-1]
        with load.lock:
            os.kill(load.process.pid, signal.SIGSTOP)
            try:
                seen = stopped(load.process.pid)
                self.pause(0.05, (0.5 if self.rng.random() < 0.8 else 1.5) * self.world.bound_s)
            finally:
                os.kill(load.process.pid, signal.SIGCONT)
            return seen

    def _flood(self):
        pod = self.rng.choice(self.world.pods)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            sock.connect(pod.daemon.socket)
            request = Client.request(1, "get", b"key:0") * 200
            sent = 0
            try:
                while sent < 4 << 20:
                    sent += sock.send(request)
                    self.world.pause(0.002)
                    if self.world.over.is_set():
                        break
            except BlockingIOError:
                pass  # it is not read from any more: that is the limit at work
            self.pause(0.05, 0.5)
            return sent > len(request)


class ClientKilled(Fault):
    """A loading process with hundreds of requests under way; the effect is that a daemon has let go of them."""
    number, title, endangers = "F24", "loading client killed", "ISOL BOUNDMEM"
    gap = (0.5, 1.5)
    variants = ("kill -9 of the load",)
    names = 14  # 0 and 1 are the first, 15 is the monitor

    def once(self):
        world, pod = self.world, self.rng.choice(self.world.pods)
        load = world.loads[-1]
        if world.next_load > self.names:
            return None
        with world.redis_lock, load.lock:  # no loss is told meanwhile
            before = self._connections(pod)
            load.kill()
            deadline = time.monotonic() + 1
            while not (gone := self._connections(pod) < before) and time.monotonic() < deadline:
                time.sleep(0.002)
            load.start_again(world.next_load)
            world.next_load += 1
            return gone

    @staticmethod
    def _connections(pod):
        """Not a number where another fault keeps it from answering."""
        try:
            with pod.daemon.client(1) as client:
                return client.call("stats")["connections"]
        except (OSError, EOFError):
            return float("nan")


class DaemonKilled(Fault):
    number, title, endangers = "F23", "daemon kill -9 every 200 ms under load", "RYW RESTART"
    gap = (0.15, 0.2)

    def once(self):
        pod = self.rng.choice(self.world.pods)
        if not pod.lock.acquire(timeout=0.5):  # pylint: disable=consider-using-with
            return None
        try:
            before = pod.daemon.process.pid
            pod.kill_and_start()
            return pod.daemon.process.pid != before
        finally:
            pod.lock.release()


class Race(Fault):
    """Writers of one key in all pods, versions descending and equal; per version one payload may win."""
    number, title, endangers = "F22", "50 racing writers on all pods, reversed and equal versions", "MONO UNIQ"
    gap = (0.1, 0.3)
    lane_per_pod = True
    slow = True
    writers = 50
    lap = 0

    def once(self):
        self.lap += 1
        key = b"race:%d:%d:%d" % (self.world.phase_number, self.lane, self.lap)
        sent, accepted, collisions, epoch = [], {}, 0, self._epoch()
        unbroken, evictions = self.world.unbroken(), self.world.evictions
        clients = [Client(self.rng.choice(self.world.pods).daemon.socket, 2.5) for _ in range(self.writers)]
        try:
            versions = [10 + n // 4 for n in range(self.writers)][::-1]
            for n, (client, version) in enumerate(zip(clients, versions)):
                value = b"%d of writer %d" % (version, n)
                sent.append((client, version, value, client.send("set", key, value, {"version": version})))
            for client, version, value, number in sent:
                outcome, of = self._outcome(client, number)
                collisions += outcome is not None and outcome not in (ACCEPTED, DUPLICATE)
                if outcome == ACCEPTED:
                    accepted.setdefault((of, version), []).append(value)
            if self.world.evictions == evictions:  # else the history of the key may have ended
                # A clear ends it as well, by a new epoch.
                self._judge(key, clients, accepted, lambda: unbroken() and epoch and self._epoch() == epoch)
        finally:
            for client in clients:
                client.close()
        return collisions > 0

    def _epoch(self):
        try:
            return self.redis.hget(META, "epoch")
        except (OSError, redis_py.RedisError):
            return None  # another fault's

    @staticmethod
    def _outcome(client, number):
        try:
            error, result = client.receive_answer(number)
            return (None, None) if error else (result[0], result[3])
        except (OSError, EOFError):
            return None, None

    def _judge(self, key, clients, accepted, unbroken):
        # Else two servers may commit in the name of one epoch.
        one_history = not self.world.topology.replica or unbroken()
        for (epoch, version), values in accepted.items():
            if len(values) > 1 and one_history:
                self.world.violation("UNIQ", f"{key} {version} of epoch {epoch}: accepted {values}")
        winners = {version: values[0] for (_, version), values in accepted.items()}
        found = list(self._contradictions(key, clients, winners))
        if unbroken():  # else what was read is of several epochs
            for promise, text in found:
                self.world.violation(promise, text)

    @staticmethod
    def _contradictions(key, clients, winners):
        seen = {}
        for client in clients[:8]:
            floor = 0
            for _ in range(2):
                try:
                    got = client.get(key)
                except (RpcError, OSError, EOFError):
                    continue
                if got["state"] != FRESH:
                    continue
                if got["version"] < floor:
                    yield "MONO", f"{key}: {got['version']} after {floor}"
                floor = got["version"]
                if seen.setdefault(floor, got["value"]) != got["value"]:
                    yield "UNIQ", f"{key} {floor}: {seen[floor]} and {got['value']}"
                if winners.get(floor, got["value"]) != got["value"]:
                    yield "UNIQ", f"{key} {floor}: {winners[floor]} won, {got['value']} is read"


class ClockJump(Fault):
    """
    The wall clock of Redis or of a daemon jumps by up to an hour (shifted_clock.c), or a daemon comes back in a
    time namespace of another offset (unshare --time, which needs to be root). The effect is seen from outside:
    TIME of Redis, the time stamp of the line that the daemon logs at SIGHUP, the namespace of the process.
    """
    number, title, endangers = "F19", "wall clock jumps; clock namespace offset", "BOUND NORES"
    gap = (0.2, 0.5)
    long = True
    topologies = ("clocks",)
    variants = ("clock of Redis", "clock of Redis", "clock of a daemon", "clock namespace")

    def once(self):
        what = {"clock of Redis": self._redis, "clock of a daemon": self._daemon,
                "clock namespace": self._namespace}[self.variant]
        return what(self.rng.choice([-1, 1]) * self.rng.uniform(2, 3600))

    def _redis(self, offset):
        world = self.world
        with world.redis_lock:
            try:
                world.set_clock("redis", offset)
                self.pause(0.1, 0.5)
                return abs(self.redis.time()[0] - time.time() - offset) < 1.5
            finally:
                world.set_clock("redis", 0)

    def _daemon(self, offset):
        number = self.rng.randrange(len(self.world.pods))
        pod = self.world.pods[number]
        with pod.lock:
            try:
                self.world.set_clock(f"pod-{number}", offset)
                pod.daemon.process.send_signal(signal.SIGHUP)
                self.world.pause(0.05)
                stamp = pod.daemon.log().strip().rsplit("\n", 1)[-1][:19]
                said = time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%S")) - time.timezone
                return abs(said - time.time() - offset) < 3
            finally:
                self.world.set_clock(f"pod-{number}", 0)

    def _namespace(self, offset):
        pod = self.rng.choice(self.world.pods)
        with pod.lock:
            pod.kill_and_start(prefix=["unshare", "--time", "--boottime", str(abs(int(offset)))])
            inside = os.readlink(f"/proc/{pod.daemon.process.pid}/ns/time")
            return inside != os.readlink("/proc/self/ns/time")


FAULTS = [DaemonStopped, ClientStopped, ClientKilled, DaemonKilled, Race, ClockJump]
