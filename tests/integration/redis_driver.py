"""Drives tests/integration/redis_driver.c: effects in, events out."""
import os
import queue
import subprocess
import threading
import time


def binary():
    """REDIS_DRIVER, or the one in a build directory beside the sources."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    build = os.environ.get("DCACHED_BUILD", os.path.join(root, "build"))
    return os.environ.get("REDIS_DRIVER", os.path.join(build, "tests/integration/redis_driver"))


class Driver:
    """One store side. `log` holds all lines, `expect` waits for one that starts with a text."""

    def __init__(self, address, **options):
        arguments = [f"{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen([binary(), address, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        errors="replace")
        self.lines = queue.Queue()
        self.seen = []
        self.errors = []
        self.readers = [threading.Thread(target=self._read), threading.Thread(target=self._read_errors)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def _read_errors(self):
        self.errors.extend(self.process.stderr)

    def send(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines))
        self.process.stdin.flush()

    def expect(self, prefix, timeout=10, absent=()):
        """The next line that starts with prefix. None that starts with one of `absent` may come before it."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {prefix!r} in {timeout} s; last: {self.seen[-20:]}") from None
            assert line is not None, f"the driver ended: {self.seen[-20:]} {''.join(self.errors)}"
            self.seen.append(line)
            assert not any(line.startswith(a) for a in absent), line
            if line.startswith(prefix):
                return line

    def ask(self, line, prefix, **kwargs):
        self.send(line)
        return self.expect(prefix, **kwargs)

    def ready(self):
        """Both connections up, and an epoch that writes can stand on."""
        up = {self.expect("up ").split()[1], self.expect("up ").split()[1]}
        assert up == {"data", "subscription"}
        return self

    def settle(self):
        """An epoch of this server's run."""
        if "meta=ok" not in self.ask("identity 1", "identity id=1 status=ok"):
            self.ask("propose 1", "proposed status=ok")
            assert "meta=ok" in self.ask("identity 2", "identity id=2 status=ok")
        return self

    def subscribe(self):
        self.ask("subscribe", "subscribed")
        return self

    def close(self):
        """Stops in order; a crash or a report of a sanitizer fails the test."""
        if self.process.poll() is None:
            try:
                self.send("quit")
            except OSError:
                pass
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = "did not end"
        for reader in self.readers:
            reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()
        assert code == 0 and not self.errors, f"{code}\n{''.join(self.errors)}"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
