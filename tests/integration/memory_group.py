"""A control group with a limit of memory, as a container has one, by whichever version of cgroups is there."""
import os
import signal
import time

ROOT = "/sys/fs/cgroup"


def read(*path):
    with open(os.path.join(*path), encoding="ascii") as f:
        return f.read()


def write(text, *path):
    with open(os.path.join(*path), "w", encoding="ascii") as f:
        f.write(str(text))


class MemoryGroup:
    """
    Use as a context manager; OSError where no group can be made. `enter` is for subprocess' preexec_fn. What is in
    it at the end is killed.
    """

    def __init__(self, limit):
        self.unified = os.path.exists(f"{ROOT}/cgroup.controllers")
        name = f"dcached-test-{os.getpid()}"
        self.path = os.path.join(ROOT, name) if self.unified else os.path.join(ROOT, "memory", name)
        if self.unified:
            write("+memory", ROOT, "cgroup.subtree_control")
        os.mkdir(self.path)
        try:
            self._limit(limit)
        except OSError:
            os.rmdir(self.path)
            raise

    def _limit(self, limit):
        if self.unified:
            write(limit, self.path, "memory.max")
            if os.path.exists(f"{self.path}/memory.swap.max"):
                write(0, self.path, "memory.swap.max")
        else:
            write(limit, self.path, "memory.limit_in_bytes")
            if os.path.exists(f"{self.path}/memory.memsw.limit_in_bytes"):
                write(limit, self.path, "memory.memsw.limit_in_bytes")

    def enter(self):
        write(os.getpid(), self.path, "cgroup.procs")

    def members(self):
        return [int(pid) for pid in read(self.path, "cgroup.procs").split()]

    def most(self):
        """The most bytes so far, or those now: anonymous memory, page tables, socket buffers, pages of files."""
        names = ("memory.peak", "memory.current") if self.unified else ("memory.max_usage_in_bytes",)
        return int(read(self.path, next(n for n in names if os.path.exists(f"{self.path}/{n}"))))

    def killed(self):
        """How many processes were killed for memory."""
        text = read(self.path, "memory.events" if self.unified else "memory.oom_control")
        return int(next(line.split()[1] for line in text.splitlines() if line.split()[0] == "oom_kill"))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        deadline = time.monotonic() + 10
        while self.members() and time.monotonic() < deadline:
            for pid in self.members():
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        os.rmdir(self.path)
