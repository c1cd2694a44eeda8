"""The limits of the socket, each with its outcome, and the socket file itself."""
import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import time

import msgpack
import pytest

from daemon import ACCEPTED, BUSY, PATIENCE, REFUSED, Client, Daemon
from private_redis import PrivateRedis
from sockets import read_all, refusal_of, request


@pytest.fixture(scope="module", name="redis")
def fixture_redis():
    with PrivateRedis() as redis:
        yield redis


# ---- limits --------------------------------------------------------------------------------------------------


def test_a_million_requests_without_reading_hold_bounded_memory_and_nobody_else_up(redis):
    with Daemon(redis=redis.socket, pod="flooded") as daemon, daemon.client() as other:
        other.set(b"flood", b"v" * 1000)
        before = daemon.rss_bytes()
        flooders = [daemon.client() for _ in range(60)]
        burst = request("get", b"flood") * 5000
        for flooder in flooders:
            flooder.sock.setblocking(False)
        sent, slowest = 0, 0.0
        for _ in range(100):
            for flooder in flooders:
                try:
                    sent += flooder.sock.send(burst)
                except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                    pass
            started = time.monotonic()
            assert other.get(b"flood")["value"] == b"v" * 1000
            slowest = max(slowest, time.monotonic() - started)
        stats = daemon.stats()
        assert sent > len(burst), "the flood has to have had an effect"
        assert stats["buffered_bytes"] < 24 << 20
        assert daemon.rss_bytes() - before < (16 + 32) << 20
        assert slowest < 0.5 * PATIENCE
        for flooder in flooders:
            flooder.close()
        daemon.wait_until(lambda: daemon.stats()["buffered_bytes"] == 0)


def test_unfinished_messages_of_many_clients_stay_within_the_budget(redis):
    config = {"limits": {"buffers": "3M"}}
    with Daemon(redis=redis.socket, pod="unfinished", config=config) as daemon, daemon.client() as other:
        head = b"\x94\x00\x01\xa3set\x93\xc4\x01k\xc6" + struct.pack(">I", 1 << 20)
        holders = [daemon.client() for _ in range(30)]
        for holder in holders:
            holder.sock.setblocking(False)
            holder.sock.send(head)
        for _ in range(12):
            for holder in holders:
                try:
                    holder.sock.send(b"x" * 65536)
                except BlockingIOError:
                    pass
            assert other.set(b"small", b"v")["outcome"] == ACCEPTED
        stats = daemon.stats()
        assert stats["input_waits"] > 0
        assert stats["buffered_bytes"] < 8 << 20
        # They send on, each in its turn: all get through.
        for holder in holders:
            holder.close()
        daemon.wait_until(lambda: daemon.stats()["buffered_bytes"] == 0)


def test_many_large_messages_at_once_all_get_through_a_small_budget(redis):
    config = {"limits": {"buffers": "3M"}, "cache": {"max_memory": "64M"}}
    with Daemon(redis=redis.socket, pod="narrow", config=config) as daemon:
        value = b"y" * (1 << 20)
        clients = [daemon.client(timeout=30) for _ in range(7)]
        data = {c: request("set", b"n%d" % i, value, {"timeout_ms": 20000}) for i, c in enumerate(clients)}
        for client in clients:
            client.sock.setblocking(False)
        deadline = time.monotonic() + 30
        while any(data.values()):
            assert time.monotonic() < deadline, daemon.stats()
            for client, rest in data.items():
                try:
                    data[client] = rest[client.sock.send(rest[:65536]):] if rest else rest
                except BlockingIOError:
                    pass
        for client in clients:
            client.sock.settimeout(30)
            _, error, result = client.receive()
            assert error is None and result[0] == ACCEPTED


def test_connections_over_the_limit_are_told_so_closed_and_counted(redis):
    with Daemon(redis=redis.socket, pod="crowded", config={"limits": {"connections": 5}}) as daemon:
        clients = [daemon.client()]
        daemon.wait_until(lambda: clients[0].call("stats")["connections"] == 1)
        clients += [daemon.client() for _ in range(4)]
        assert all(c.call("ping") == "pong" for c in clients)
        with daemon.client() as extra:
            kind, number, (code, text), result = msgpack.unpackb(read_all(extra.sock))
            assert (kind, number, code, result) == (1, 0, BUSY, None) and "[limits] connections" in text
        assert clients[0].call("stats")["connections_refused"] == 1
        clients.pop().close()
        daemon.wait_until(lambda: clients[0].call("stats")["connections"] == 4)
        assert daemon.call("ping") == "pong"


def is_served(daemon):
    try:
        return daemon.call("ping") == "pong"
    except (OSError, EOFError):
        return False


def test_without_descriptors_accepting_pauses_and_then_goes_on(redis):
    with Daemon(redis=redis.socket, pod="poor") as daemon, daemon.client() as client:
        pid = daemon.process.pid
        used = len(os.listdir(f"/proc/{pid}/fd"))
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={used + 3}:"], check=True)
        clients = []
        for _ in range(10):
            try:
                clients.append(daemon.client())
            except OSError:
                pass
        daemon.wait_until(lambda: client.call("stats")["accept_pauses"] > 0)
        ticks = [int(x) for x in open(f"/proc/{pid}/stat", encoding="ascii").read().split()[13:15]]
        time.sleep(0.5)
        later = [int(x) for x in open(f"/proc/{pid}/stat", encoding="ascii").read().split()[13:15]]
        assert sum(later) - sum(ticks) < 10, "the loop spins"
        assert client.set(b"poor", b"v")["outcome"] == ACCEPTED
        for c in clients:
            c.close()
        daemon.wait_until(lambda: is_served(daemon))


def test_who_waits_for_a_descriptor_is_served_when_there_are_some(redis):
    with Daemon(redis=redis.socket, pod="short") as daemon, daemon.client() as client:
        client.call("ping")
        pid = daemon.process.pid
        used = len(os.listdir(f"/proc/{pid}/fd"))
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={used}:"], check=True)
        waiting = [daemon.client() for _ in range(20)]
        daemon.wait_until(lambda: client.call("stats")["accept_pauses"] > 0)
        subprocess.run(["prlimit", f"--pid={pid}", "--nofile=256:"], check=True)
        turned_away = 0
        for c in waiting:
            try:
                assert c.call("ping") == "pong"
            except (EOFError, ConnectionError):
                turned_away += 1
            c.close()
        # One for each pause; the others have waited.
        assert turned_away <= client.call("stats")["accept_pauses"] < 10


# ---- the socket itself ---------------------------------------------------------------------------------------


def test_a_second_daemon_on_the_same_socket_is_refused(redis):
    with Daemon(redis=redis.socket, pod="first") as daemon:
        second = Daemon(redis="127.0.0.1:1", pod="second", config={"listen": {"socket": daemon.socket}})
        try:
            second.spawn()
            assert second.process.wait(5) != 0
            assert "another dcached" in second.log()
            assert daemon.call("ping") == "pong"
        finally:
            second.remove()


def test_a_stale_socket_file_is_replaced(redis):
    with Daemon(redis=redis.socket, pod="stale") as daemon:
        daemon.kill()
        assert stat.S_ISSOCK(os.stat(daemon.socket).st_mode)
        started = time.monotonic()
        daemon.start()
        assert time.monotonic() - started < 1 * PATIENCE
        assert daemon.call("ping") == "pong"


def test_a_socket_that_somebody_else_answers_on_is_left_alone(tmp_path):
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen(1)
        daemon = Daemon(config={"listen": {"socket": path}})
        try:
            daemon.spawn()
            assert daemon.process.wait(5) != 0
            assert "another program answers" in daemon.log()
            assert os.path.exists(path)
        finally:
            daemon.remove()


def test_what_is_no_socket_is_never_removed(tmp_path):
    path = tmp_path / "s.sock"
    path.write_text("precious")
    daemon = Daemon(config={"listen": {"socket": str(path)}})
    try:
        daemon.spawn()
        assert daemon.process.wait(5) != 0
        assert path.read_text() == "precious"
    finally:
        daemon.remove()


@pytest.mark.parametrize("mode", ["0600", "0660", "0666"])
def test_the_socket_has_its_mode_from_the_first_moment(tmp_path, mode):
    path = str(tmp_path / "m.sock")
    daemon = Daemon(config={"listen": {"socket": path, "socket_mode": mode}})
    try:
        daemon.spawn()
        seen = set()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                seen.add(stat.S_IMODE(os.stat(path).st_mode))
                with Client(path) as client:
                    assert client.call("ping") == "pong"
                break
            except (FileNotFoundError, ConnectionRefusedError):
                continue
        assert seen <= {0o600, int(mode, 8)} and stat.S_IMODE(os.stat(path).st_mode) == int(mode, 8)
    finally:
        daemon.remove()


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_socket_is_restricted_before_it_can_be_connected(tmp_path):
    daemon = Daemon(prefix=["strace", "-D", "-f", "-o", str(tmp_path / "trace"), "-e",
                            "trace=umask,bind,chmod,fchmodat,listen"])
    with daemon.start(ready=False):
        lines = (tmp_path / "trace").read_text().splitlines()
    pattern = re.compile(r"(umask\(0\d*|bind|chmod|fchmodat|listen)\(?")
    calls = [m[1] for m in map(pattern.search, lines) if m]
    at = calls.index("bind")
    assert calls[at - 1] == "umask(0177", "it is nobody's from the moment it is there"
    assert calls[at + 2].replace("fchmodat", "chmod") == "chmod" and calls[at + 3] == "listen"


def test_sigterm_answers_what_is_in_flight_and_removes_the_socket(redis):
    with Daemon(redis=redis.socket, pod="leaving") as daemon:
        with daemon.client() as client:
            ids = [client.send("set", b"leaving%d" % i, b"v") for i in range(50)]
            client.call("ping")
            path, process = daemon.socket, daemon.process
            assert daemon.stop() == 0
            assert process.returncode == 0
            assert all(client.receive_answer(i)[0] is None for i in ids)
            with pytest.raises(EOFError):
                client.receive()
        assert not os.path.exists(path)


def test_a_daemon_without_redis_listens_answers_and_refuses():
    with Daemon().start(ready=False) as daemon, daemon.client() as client:
        assert client.call("status")["ready"] is False
        assert refusal_of(client, "get", b"k", {"timeout_ms": 50}) == REFUSED
        assert client.call("stats")["reads"] == client.call("stats")["refused"] == 1


def test_an_inherited_listening_socket_is_used(redis, tmp_path):
    path = str(tmp_path / "inherited.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(16)
        fd = listening.fileno()
        daemon = Daemon(redis=redis.socket, pod="activated", env={"LISTEN_FDS": "1"},
                        prefix=["bash", "-c", f'LISTEN_PID=$$ exec "$@" 3<&{fd}', "bash"],
                        config={"listen": {"socket": path}})
        try:
            daemon.start(pass_fds=[fd])
            assert daemon.call("ping") == "pong"
            assert daemon.stop() == 0
            assert os.path.exists(path), "the path belongs to whoever made it"
        finally:
            daemon.remove()
