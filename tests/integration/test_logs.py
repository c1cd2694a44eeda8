"""What the real daemon writes as text, as JSON and to the journal, and that nobody else can write there for it."""
import base64
import json
import os
import queue
import re
import socket
import struct
import subprocess
import threading

import pytest

from daemon import Daemon, RpcError, build_dir
from private_redis import PrivateRedis

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"
# Keys that want to be lines, fields, entries or colours of a terminal.
FORGED = 'x\n2026-01-02T03:04:05.1Z error "forged" key=1'
HOSTILE = [FORGED.encode(), b'"}\n{"level":"error","message":"forged","fields":{}}',
           b"a\nMESSAGE=forged\nPRIORITY=0\n", b"<0>forged", b"\x1b[2J\x1b[31mred\r\x08\x00\x7f",
           b"\xff\xfe not utf-8 \xc3", "\u202eesrever \u2028".encode(), b"k" * 1000, bytes(range(256)), b" ", b"="]


def reject(daemon, store, keys):
    """Makes the daemon log each key: its message comes a second time, when something newer is known."""
    with daemon.client() as client, store.pubsub() as messages:
        messages.psubscribe("cache:invalidate:*")
        assert next(messages.listen())["type"] == "psubscribe"  # now it is one
        before = client.call("stats")["stale_rejected"]
        for key in keys:
            client.set(key, b"old", version=1)
            client.set(key, b"new", version=2)
            late, _ = next(messages.listen()), next(messages.listen())
            store.publish(late["channel"], late["data"])
            next(messages.listen())
        daemon.wait_until(lambda: client.call("stats")["stale_rejected"] - before == len(keys))


def trouble(daemon, redis):
    """A bit of everything: hostile keys, a bad request, a bad reload, a Redis that goes and comes, the end."""
    reject(daemon, redis.client(), HOSTILE)
    with daemon.client() as client:
        with pytest.raises(RpcError):
            client.call("no such\nmethod")
    good = daemon.config["cache"] = {"max_memory": "16M"}
    good["max_memory"] = 'much\n  "more'
    daemon.write_config()
    daemon.process.send_signal(1)
    daemon.wait_until(lambda: daemon.status()["config_error"])
    redis.stop()
    daemon.wait_until(lambda: "cannot connect to Redis" in daemon.log())
    redis.start()
    daemon.wait_until(lambda: daemon.status()["ready"])
    assert daemon.stop() == 0


def test_each_line_of_json_is_one_object_with_the_documented_fields(redis, start_daemon):
    daemon = start_daemon(redis, config={"log": {"level": "debug", "format": "json"}})
    trouble(daemon, redis)
    with open(daemon.log_path, "rb") as f:
        raw = f.read()
    assert raw.endswith(b"\n") and not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", raw)
    lines = raw[:-1].split(b"\n")
    entries = [json.loads(line) for line in lines]
    for line, entry in zip(lines, entries):
        assert len(line) < 4096
        assert {"time", "level", "message"} <= set(entry) <= {"time", "level", "message", "fields", "suppressed",
                                                              "truncated"}
        assert re.fullmatch(TIME, entry["time"]) and entry["level"] in ("error", "warning", "info", "debug")
        assert all(isinstance(v, (str, int)) for v in entry.get("fields", {}).values())
    assert not [e for e in entries if e["message"] == "forged"]
    assert {"listening", "cannot connect to Redis", "stopping"} <= {e["message"] for e in entries}
    rejected = [e["fields"] for e in entries if e["message"] == "STALE DATA REJECTED"]
    assert [key_of(fields) for fields in rejected] == [key[:256] for key in HOSTILE]
    assert rejected[HOSTILE.index(b"k" * 1000)]["key_bytes"] == 1000 and rejected[0]["stale_version"] == 1


def key_of(fields):
    return base64.b64decode(fields["key_base64"])[:256] if "key_base64" in fields else fields["key"].encode()


def test_each_line_of_text_begins_with_time_and_level_and_is_clean(redis, start_daemon):
    daemon = start_daemon(redis, config={"log": {"level": "debug", "format": "text"}})
    trouble(daemon, redis)
    with open(daemon.log_path, "rb") as f:
        raw = f.read()
    assert raw.endswith(b"\n") and not re.search(rb"[^\n\x20-\x7e]", raw)
    lines = raw.decode().splitlines()
    for line in lines:
        assert re.match(rf"{TIME} (error|warning|info|debug) \S", line) and len(line) < 2048, line
    assert len([line for line in lines if " STALE DATA REJECTED " in line]) == len(HOSTILE)
    assert not [line for line in lines if re.match(rf"{TIME} \w+ \W?forged", line)]


@pytest.mark.parametrize("wrong, variables", [
    ("DCACHED_CACHE_MAX_MEMORY", {"DCACHED_CACHE_MAX_MEMORY": "much"}),
    ("/none", {"DCACHED_REDIS_PASSWORD_FILE": "/none"}),
])
def test_a_start_that_fails_is_said_in_json_where_that_was_asked_for(folder, wrong, variables):
    path = os.path.join(folder, "empty.conf")
    with open(path, "w", encoding="ascii"):
        pass
    done = subprocess.run([os.path.join(build_dir(), "daemon", "dcached"), "-c", path], capture_output=True,
                          text=True, env={"DCACHED_LOG_FORMAT": "json", **variables})
    assert done.returncode == 78
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert [e["level"] for e in entries] == ["error"] and wrong in entries[0]["fields"]["text"]


# ---- the journal ------------------------------------------------------------------------------------------


def fields_of(datagram):
    """[(name, bytes), ...] of journald's native protocol."""
    found = []
    while datagram:
        end = datagram.index(b"\n")
        line, datagram = datagram[:end], datagram[end + 1:]
        if b"=" in line:
            found.append(tuple(line.split(b"=", 1)))
        else:
            length = struct.unpack("<Q", datagram[:8])[0]
            found.append((line, datagram[8:8 + length]))
            assert datagram[8 + length:9 + length] == b"\n"
            datagram = datagram[9 + length:]
    return [(name.decode(), value) for name, value in found]


class Journal:
    """A journald for one daemon: it sees this socket at the place of the real one (see `prefix`)."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "journal")
        os.mkdir(self.folder)
        self.start()
        mount = ('mount -t tmpfs none /run && mkdir -p /run/systemd/journal && '
                 'mount --bind "$0" /run/systemd/journal && exec "$@"')
        self.prefix = ["unshare", "--mount", "sh", "-c", mount, self.folder]

    def start(self):
        """Entries are taken as they come: few datagrams wait in a socket."""
        self.sock, self.entries = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM), queue.Queue()
        self.sock.bind(os.path.join(self.folder, "socket"))
        self.thread = threading.Thread(target=self._take)
        self.thread.start()

    def _take(self):
        while datagram := self.sock.recv(1 << 16):
            self.entries.put(fields_of(datagram))

    def stop(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.sock.close()
        os.unlink(os.path.join(self.folder, "socket"))

    def until(self, message):
        """All entries up to the one of this event."""
        found = []
        while not found or dict(found[-1])["DCACHED_EVENT"].decode() != message:
            found.append(self.entries.get(timeout=10))
        return found


@pytest.fixture(name="journal")
def fixture_journal(folder):
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("needs root and a namespace of mounts, to stand in for journald")
    journal = Journal(folder)
    yield journal
    journal.stop()


@pytest.fixture(name="logged")
def fixture_logged(journal, redis, folder):
    """A daemon whose standard error is the journal's stream, as systemd says it: by device and inode."""
    daemon = Daemon(redis=redis.socket, dir=folder, prefix=journal.prefix, config={"log": {"level": "info"}})
    with open(daemon.log_path, "wb") as stream:
        status = os.fstat(stream.fileno())
    daemon.env = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    with daemon:
        yield daemon
        assert daemon.stop() in (0, None)


def test_the_journal_gets_an_entry_with_fields_and_a_hostile_key_stays_in_its_field(journal, logged, redis):
    entries = []
    for key in HOSTILE + [b"last"]:  # one by one: what the journal does not take at once is held back
        reject(logged, redis.client(), [key])
        entries += journal.until("STALE DATA REJECTED")
    assert logged.stop() == 0
    entries += journal.until("stopped")
    for entry in entries:
        names = [name for name, _ in entry]
        assert len(set(names)) == len(names)
        assert names[:4] == ["MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "DCACHED_EVENT"]
        assert all(re.fullmatch("DCACHED_[A-Z0-9_]+", name) for name in names[4:])
        assert dict(entry)["PRIORITY"] in (b"3", b"4", b"6", b"7")
        assert not re.search(rb"[^\x20-\x7e]", dict(entry)["MESSAGE"])
    rejected = [dict(e) for e in entries if dict(e)["DCACHED_EVENT"] == b"STALE DATA REJECTED"]
    assert [e["DCACHED_KEY"] for e in rejected] == HOSTILE + [b"last"]
    assert (rejected[-1]["DCACHED_STALE_VERSION"], rejected[-1]["DCACHED_CURRENT_VERSION"]) == (b"1", b"2")
    assert rejected[-1]["MESSAGE"].startswith(b"STALE DATA REJECTED key=last stale_version=1 ")
    assert logged.log() == ""  # nothing twice


def test_while_the_journal_is_away_lines_have_a_priority_and_then_it_gets_entries_again(journal, logged, redis):
    journal.stop()
    reject(logged, redis.client(), [FORGED.encode()])
    logged.wait_until(lambda: "STALE DATA REJECTED" in logged.log())
    lines = logged.log().splitlines()
    assert all(re.match("<[3467]>[a-z]", line) for line in lines)
    assert [line[:3] for line in lines if "STALE DATA REJECTED" in line] == ["<6>"]
    journal.start()
    reject(logged, redis.client(), [b"back"])
    assert b"back" in dict(journal.until("STALE DATA REJECTED")[-1])["DCACHED_KEY"]


# ---- secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_password_is_in_no_log_no_argument_and_no_answer(folder, form):
    right, wrong = "Rt7-correct-horse", "Wr9-battery-staple"
    path = os.path.join(folder, "password")
    config = {"redis": {"password_file": path}, "log": {"level": "debug", "debug_mode": "yes", "format": form}}
    shown = []
    with PrivateRedis(requirepass=right) as redis:
        for password in (wrong, right):
            with open(path, "w", encoding="ascii") as f:
                f.write(password + "\n")
            os.chmod(path, 0o600)
            with Daemon(redis=redis.socket, config=config, dir=folder).start(ready=password == right) as daemon:
                daemon.wait_until(lambda d=daemon, p=password: "WRONGPASS" in d.log() or p == right)
                if password == right:
                    reject(daemon, redis.client(password=right), [b"price"])
                with open(f"/proc/{daemon.process.pid}/cmdline", encoding="utf-8") as f:
                    shown.append(f.read())
                with daemon.client() as client:
                    shown += [str(client.call(method)) for method in ("status", "stats", "config")]
                shown.append(subprocess.run([os.path.join(build_dir(), "daemon", "dcached"), "-c", daemon.conf,
                                             "--print-config"], capture_output=True, text=True, check=True).stdout)
                assert daemon.stop() == 0
    shown.append(daemon.log())
    assert path in shown[-2] and "STALE DATA REJECTED" in shown[-1]
    for text in shown:
        assert right not in text and wrong not in text
