"""chaos-load and chaos-check as processes; README.md of this folder says what their lines mean."""
import json
import os
import queue
import signal
import subprocess
import threading
import time

import redis as redis_py

from daemon import PATIENCE, build_dir
from private_redis import free_port

# Whoever makes or judges load waits for daemons, Redis and the links between them.
NICE = ["nice", "-n", "10"]


def program(name):
    return os.path.join(build_dir(), "tests", "chaos", name)


def start_redis(redis, patience_s=60 * PATIENCE):
    """
    Until it answers. On a busy machine that takes long, which is nobody's fault; and a loopback port that was free
    may be taken by now.
    """
    for _ in range(3):
        redis.start(wait=False)
        ended = _await_redis(redis, patience_s)
        if ended is None:
            return redis
        redis.process = None
        if "Address already in use" not in redis.log():
            break
        redis.port = redis.port and free_port()
    raise RuntimeError(f"redis-server {ended}: {redis.log()[-400:]}")


def _await_redis(redis, patience_s):
    """None, or how it ended."""
    deadline = time.monotonic() + patience_s
    with redis.client(socket_timeout=5) as client:
        while time.monotonic() < deadline:
            if redis.process.poll() is not None:
                return f"ended with {redis.process.poll()}"
            try:
                client.ping()
                return None
            except (redis_py.RedisError, OSError):
                time.sleep(0.005)
    redis.kill()
    return f"did not answer within {patience_s} s"


class Load:
    """`lock` is held by whoever stops the process."""

    def __init__(self, history, sockets, number, options):
        self.lock = threading.Lock()
        self.totals = {}
        self.command = [*NICE, program("chaos-load"), "--history", history, "--control"]
        for path in sockets:
            self.command += ["--pod", path]
        for name, value in options.items():
            self.command += ["--" + name, str(value)]
        self._start(number)

    def _start(self, number):
        self._lines = queue.Queue()
        self.process = subprocess.Popen([*self.command, "--name", str(number)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, args=(self.process, self._lines), daemon=True).start()
        self._wait("ready")

    @staticmethod
    def _read(process, lines):
        for line in process.stdout:
            try:
                lines.put(json.loads(line))
            except ValueError:
                lines.put({"unreadable": line})
        lines.put(None)

    def kill(self):
        """kill -9; how it ended."""
        self.process.kill()
        return self.process.wait()

    def start_again(self, number):
        """After `kill`, under a number that no process of this history has had."""
        self._start(number)

    def _wait(self, name, timeout=30 * PATIENCE):
        while True:
            line = self._lines.get(timeout=timeout)
            if line is None:
                raise RuntimeError(f"chaos-load ended with {self.process.wait()} while {name} was waited for")
            if name in line:
                return line

    def tell(self, *words, wait="ok"):
        with self.lock:
            self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
            self.process.stdin.flush()
            return self._wait(wait)

    def stop(self):
        """Its exit status; `totals` is what it said last."""
        with self.lock:
            try:
                self.process.stdin.write("stop\n")
                self.process.stdin.close()
            except OSError:
                pass
            try:
                status = self.process.wait(30 * PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGKILL)
                status = self.process.wait()
            while not self._lines.empty():
                self.totals = self._lines.get() or self.totals
            return status


class Check:
    """Judges while the load runs; `end` gives exit status, report and text; `write` comes before."""

    def __init__(self, history, folder, options):
        self.report_path = os.path.join(folder, "report.json")
        self.fired_path, self.stats_path = os.path.join(folder, "fired.json"), os.path.join(folder, "stats.json")
        self.text_path = os.path.join(folder, "check.txt")
        self.command = [*NICE, program("chaos-check"), "--history", history, "--live", "--eat",
                        "--fired", self.fired_path, "--stats", self.stats_path, "--report", self.report_path,
                        *options]
        self.process = None

    def start(self):
        with open(self.text_path, "wb") as text:
            self.process = subprocess.Popen(self.command, stdout=text, stderr=text)
        return self

    def end(self, timeout):
        """After the loads have ended, and `write`."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        with open(self.text_path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        try:
            with open(self.report_path, encoding="utf-8") as f:
                report = json.load(f)
        except (OSError, ValueError):
            report = {}
        return status, report, text

    def write(self, fired, stats):
        for path, value in ((self.fired_path, fired), (self.stats_path, stats)):
            with open(path + ".new", "w", encoding="utf-8") as f:
                json.dump(value, f)
            os.rename(path + ".new", path)
