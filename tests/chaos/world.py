"""One Redis (or two), a few pods, each behind its own link, the load and its checker: what faults happen to."""
import contextlib
import os
import shutil
import struct
import tempfile
import threading
import time

import redis as redis_py

from daemon import PATIENCE, Daemon
from private_redis import PrivateRedis
from programs import Check, Load, program, start_redis
from proxy_process import ProxyProcess
from topology import COMMON, aof_is_truth
from waited import PREFERRED, Held, Monitor

BUFFERS = 16 << 20   # [limits] buffers
BEYOND = 32 << 20    # what BOUNDMEM allows beyond the budgets
RESTART_S = 1.0      # RESTART
LONGEST_LOSS_NS = 20 * 10 ** 9


def boottime_ns():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _pid(process):
    return process and process.pid


def expect_bounded(daemon, violation):
    """BOUNDMEM, also of the time in which a fault was there. MiB beyond the cache."""
    used, size = peak_bytes(daemon.process.pid), daemon.config["cache"]["max_memory"]
    if used > size + BUFFERS + BEYOND:
        violation("BOUNDMEM", f"{daemon.config['pod']['id']} has used {used >> 20} MiB of memory")
    return (used - size) / (1 << 20)


def peak_bytes(pid):
    """The most that has been resident."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return next((int(line.split()[1]) << 10 for line in f if line.startswith("VmHWM:")), 0)


class Pod:
    """A daemon, and its counters over several lives. `lock` is held by whoever stops or kills it."""

    def __init__(self, number, daemon, violation):
        self.number, self.daemon, self.violation = number, daemon, violation
        self.lock = threading.Lock()
        self.lives = []
        self.slowest_start_s = 0

    def kill_and_start(self, prefix=None):
        self.note_stats(0.2)
        if self.expect_alive():
            self.expect_bounded()
        self.daemon.kill()
        self.daemon.prefix = [*PREFERRED, *(prefix or [])]
        self.start()

    def start(self):
        """RESTART: it answers within a second. What Redis does meanwhile is another matter."""
        begin, held = time.monotonic(), Held()
        self.daemon.spawn()
        while not self._answers():
            if self.daemon.process.poll() is not None or time.monotonic() - begin > 10 * PATIENCE:
                self.violation("RESTART", f"pod {self.number} does not start: {self.daemon.log()[-500:]}")
                return
            time.sleep(0.002)
        took = time.monotonic() - begin
        self.slowest_start_s = max(self.slowest_start_s, took)
        stall = held(self.daemon.process.pid)
        if took - stall > RESTART_S * PATIENCE:
            self.violation("RESTART", f"pod {self.number} took {took:.2f} s to answer, "
                                      f"{stall:.2f} s of them held back")

    def _answers(self):
        try:
            with self.daemon.client(timeout=1) as client:
                return client.call("ping") == "pong"
        except (OSError, EOFError):
            return False

    def note_stats(self, timeout):
        try:
            with self.daemon.client(timeout) as client:
                stats = client.call("stats")
        except (OSError, EOFError, RuntimeError):
            return
        names = ("reads", "hits", "misses", "refused", "errors")
        self.lives.append({"pod": self.number, **{name: stats[name] for name in names}})

    def expect_alive(self):
        status = self.daemon.process.poll()
        if status is not None:
            self.violation("NOCRASH", f"pod {self.number} ended with {status}: {self.daemon.log()[-2000:]}")
        return status is None

    def expect_bounded(self):
        return expect_bounded(self.daemon, self.violation)


class World:
    user_rules = ("on", ">secret", "~*", "&*", "+@all")

    def __init__(self, era, load_options, tally):
        self.topology, self.bound_s, self.era = era.topology, era.bound_ms / 1000, era
        self.violation, self.figure, self.count = tally.violation, tally.figure, tally.counted
        self.refuse = tally.refuse
        self.keys = load_options["keys"]
        self.over = threading.Event()
        self.redis_lock = threading.RLock()
        self.phase_number = self.phase_seconds = 0
        self.losses = 0  # beginnings and ends
        self.evictions = 0
        self.totals = []  # of each load, at the end
        self._link_locks = {}
        self._guard = threading.Lock()
        self._stack = contextlib.ExitStack()
        self.dir = tempfile.mkdtemp(prefix="dc-")
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.history = tempfile.mkdtemp(prefix="dc-history-", dir=memory)
        for folder in (self.dir, self.history):
            self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            self._start(load_options)
        except BaseException:
            self._stack.close()
            raise

    def _start(self, load_options):
        self.redis = self._redis()
        start_redis(self.redis)
        self.replica = None
        if self.topology.replica:
            self.replica = self._redis(replicaof=f"127.0.0.1 {self.redis.port}")
            start_redis(self.replica)
        self.links = []
        for number in range(self.era.pods):
            self.links.append(ProxyProcess(self.redis.socket, os.path.join(self.dir, f"link-{number}")))
            self._stack.callback(self.links[-1].close)
        self.pods = [self._pod(number) for number in range(self.era.pods)]
        for pod in self.pods:
            pod.daemon.start(timeout=60 * PATIENCE)
        self._start_load(load_options)

    def _redis(self, **options):
        rules = "pod " + " ".join(self.user_rules)
        env = []
        redis = PrivateRedis(tcp=self.topology.replica, user=rules, **COMMON, **self.topology.options, **options)
        if self.topology.clocks:
            env = ["env", *(f"{k}={v}" for k, v in self._clock_env("redis").items())]
        redis.server = [*PREFERRED, *env, "redis-server"]
        self._stack.callback(redis.remove)
        return redis

    def _pod(self, number):
        password = os.path.join(self.dir, "password")
        with open(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as f:
            f.write("secret\n")
        daemon = Daemon(redis=self.links[number].address, pod=f"pod-{number}", dir=self.dir, config={
            "redis": {"username": "pod", "password_file": password}, "limits": {"connections": 1000},
            "staleness": {"bound": f"{self.era.bound_ms}ms", "min_replicas": int(self.topology.guarded)},
            "cache": {"max_memory": self.era.max_memory, "max_value": "64K",
                      "propagate": "invalidate" if number < self.era.invalidating else "value"},
            "log": {"level": "info" if self.topology.clocks else "warning"}},
            env=self._clock_env(f"pod-{number}") if self.topology.clocks else None, prefix=PREFERRED)
        self._stack.callback(daemon.remove)
        return Pod(number, daemon, self.violation)

    def _clock_env(self, name):
        self.set_clock(name, 0)
        return {"LD_PRELOAD": program("shifted_clock.so"),
                "SHIFTED_CLOCK_FILE": os.path.join(self.dir, f"clock-{name}")}

    def _start_load(self, options):
        sockets = [pod.daemon.socket for pod in self.pods]
        self.loads, self.next_load = [], 2
        for number in range(2):
            self.loads.append(Load(self.history, sockets, number, {
                **options, "seed": self.era.seed + number, "bound-ms": self.era.bound_ms}))
            self._stack.callback(self.loads[-1].kill)
        self.monitor = Monitor(self.history, self._watched)
        self._stack.callback(self.monitor.process.kill)
        checked = ["--bound-ms", str(self.era.bound_ms)]
        if aof_is_truth(self.topology):
            checked += ["--aof", os.path.join(self.redis.dir, "appendonlydir")]
        self.check = Check(self.history, self.dir, checked).start()
        self._stack.callback(self.check.process.kill)

    def _watched(self):
        """What the monitor is to look at: slots, whom they work for, and the threads that work."""
        found = {}
        for number, (pod, link) in enumerate(zip(self.pods, self.links)):
            found[2 * number] = (number, _pid(pod.daemon.process))
            found[2 * number + 1] = (number, link.thread)
        servers = [self.redis] + [self.replica] * self.topology.replica  # the replica guard waits for both
        for number, server in enumerate(servers, 2 * len(self.pods)):
            found[number] = ("redis", _pid(server.process))
        return {slot: (pod, pid) for slot, (pod, pid) in found.items() if pid}

    def held(self, pod):
        """Begins to measure for how long the machine holds back what this pod needs."""
        return Held(*(pid for of, pid in self._watched().values() if of in (pod.number, "redis")))

    # ---- for faults ---------------------------------------------------------------------------------------

    def pause(self, seconds):
        """Ends early when the phase is over."""
        self.over.wait(seconds)

    def link_lock(self, pod, kind):
        """Faults that would end each other exclude each other."""
        group = kind if kind in ("stall", "delay") else "frames"
        with self._guard:
            return self._link_locks.setdefault((pod, group), threading.Lock())

    def redis_client(self):
        """Of whichever server is the primary when a command is sent."""
        return Primary(self)

    def run_id(self):
        with self.redis.client(socket_timeout=5) as client:
            return client.info("server")["run_id"]

    def tell(self, *words):
        for load in self.loads:
            load.tell(*words)

    @contextlib.contextmanager
    def loss(self, empty=False, kept=False):
        """
        Whatever is done inside may lose writes; `empty`: all of them; `kept`: none, the epoch alone. The load is
        told before, with an end that lies far enough in the future, since the checker follows closely; and told
        the true end after. That all was lost is noted in Redis, so that the file says what was before that end.
        """
        self.losses += 1
        begin, how, kept = boottime_ns(), [], ["kept"] if kept else []
        self.tell("loss", begin, boottime_ns() + LONGEST_LOSS_NS, *kept)
        try:
            yield
            if empty:
                with self.redis.client(socket_timeout=10) as client:
                    client.set("chaos:emptied", begin)
            how = ["empty"] if empty else kept
        finally:  # what was broken off may have lost anything
            self.tell("loss", begin, boottime_ns(), *how)
            self.losses += 1

    def unbroken(self):
        """A question: has there been no loss since now? Promises about versions hold within one epoch."""
        before = self.losses
        return lambda: before % 2 == 0 and self.losses == before

    def set_clock(self, name, offset):
        """Seconds beside the true wall clock, for Redis or a pod; at once."""
        path = os.path.join(self.dir, f"clock-{name}")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(fd, struct.pack("=q", int(offset)), 0)
        os.close(fd)

    def forget_files(self):
        for name in os.listdir(self.redis.dir):
            if name.endswith(".rdb"):
                os.unlink(os.path.join(self.redis.dir, name))

    def replicated(self, patience_ms):
        """The replica acknowledges, within that time, all that was committed until now."""
        with self.redis.client(socket_timeout=10, single_connection_client=True) as client:
            client.publish("chaos:pulse", "")  # WAIT is for what the same connection did
            return client.execute_command("WAIT", 1, patience_ms) >= 1

    def fail_over(self, clean):
        """The replica becomes the primary. False if a clean one was wanted and the replica did not catch up."""
        old, new = self.redis, self.replica
        if clean and not self._caught_up(old, new):
            return False
        if not clean:
            old.pause()
        with new.client(socket_timeout=5) as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        for link in self.links:
            link.lead_to(new.socket)
            link.cut("all")
        self.redis, self.replica = new, old
        old.resume()
        with old.client(socket_timeout=5) as client:
            client.execute_command("REPLICAOF", "127.0.0.1", str(new.port))
            client.execute_command("CLIENT", "UNPAUSE")
        return True

    def _caught_up(self, old, new):
        with old.client(socket_timeout=5) as primary, new.client(socket_timeout=5) as replica:
            primary.execute_command("CLIENT", "PAUSE", 5000, "WRITE")
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                behind = replica.info("replication")
                if behind.get("master_link_status") == "up" and \
                   behind["slave_repl_offset"] >= primary.info("replication")["master_repl_offset"]:
                    return True
                time.sleep(0.005)
            primary.execute_command("CLIENT", "UNPAUSE")
            return False

    # ---- for the runner -----------------------------------------------------------------------------------

    def heal(self):
        """Ends every fault. When it returns nothing is wrong any more."""
        self.redis.resume()
        for link in self.links:
            link.lead_to(self.redis.socket)
            link.heal()
        with self.redis.client(socket_timeout=10) as client:
            client.execute_command("CLIENT", "UNPAUSE")
            for name in ("maxmemory", "min-replicas-to-write"):
                client.config_set(name, 0)
            client.config_set("maxclients", 10000)
            client.execute_command("ACL", "SETUSER", "pod", "reset", *self.user_rules)
        self._await_replica()
        for pod in self.pods:
            if not pod.expect_alive():
                pod.daemon.process = None
                pod.start()

    def _await_replica(self):
        """Until it acknowledges: before that the replica guard refuses, and rightly."""
        deadline = time.monotonic() + 20 * PATIENCE
        while self.topology.guarded and time.monotonic() < deadline:
            if self.replicated(50):
                return
        if self.topology.guarded:
            self.refuse("the replica does not come back")

    def late(self):
        """Pods that are not ready, and what they say."""
        late = {}
        for pod in self.pods:
            try:
                with pod.daemon.client(1) as client:
                    status = client.call("status")
                if not status["ready"] or not status["writes_ok"]:
                    late[pod] = f"{status['reason']} {status['writes_text']}"
            except (OSError, EOFError) as e:
                late[pod] = repr(e)
        return late

    def health(self):
        """What is said with a violation: whether Redis answers and how busy the machine is."""
        begin = time.monotonic()
        try:
            with self.redis.client(socket_timeout=5) as client:
                info = client.info()
            said = f"role {info['role']}, replicas {info['connected_slaves']}, clients {info['connected_clients']}"
        except redis_py.RedisError as e:
            said = repr(e)
        return (f"Redis answered in {time.monotonic() - begin:.3f} s: {said}; "
                f"load average {os.getloadavg()[0]:.1f}; {self.redis.log()[-600:]}")

    def close(self, fired):
        """Ends load and daemons; gives back what the checker says: exit status, report, text."""
        for pod in self.pods:
            pod.note_stats(5)
            self.figure("highest memory of a daemon beyond its cache, MiB", pod.expect_bounded())
        self.check.write(fired, [life for pod in self.pods for life in pod.lives])
        for load in self.loads:
            status = load.stop()
            self.totals.append(load.totals)
            if status not in (0, 1):
                self.refuse(f"chaos-load ended with {status}")
        self.monitor.end()
        result = self.check.end(180 * PATIENCE)
        for pod in self.pods:
            if pod.expect_alive() and pod.daemon.stop() != 0:
                self.violation("NOCRASH", f"pod {pod.number} did not end well: {pod.daemon.log()[-500:]}")
        return result

    def remove(self):
        self._stack.close()


class Primary:
    """A redis-py client that follows the primary: each command goes to the server that is one now."""

    def __init__(self, world):
        self._world, self._of, self._client = world, None, None

    def __getattr__(self, name):
        if self._of is not self._world.redis:
            self._of, self._client = self._world.redis, self._world.redis.client(socket_timeout=10)
        return getattr(self._client, name)

    def close(self):
        if self._client:
            self._client.close()
