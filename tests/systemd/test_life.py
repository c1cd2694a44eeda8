"""dcached.service and dcached.socket under a real systemd: begin, restart, death, reload, end."""
import os
import re
import threading
import time

from daemon import ACCEPTED, FRESH
from machine import REPO, SOCKET, wait_until


def restarts(machine, unit="dcached"):
    return int(machine.show(unit, "NRestarts"))


def test_the_first_client_starts_the_daemon(service):
    service.systemctl("stop", "dcached.service")
    assert service.show("dcached.socket", "SubState") == "listening"
    assert service.main_pid() == 0
    with service.client() as client:
        assert client.call("ping") is not None
    assert service.show("dcached.service", "ActiveState") == "active"


def test_the_socket_has_the_mode_and_the_group_of_its_unit(service):
    info = os.stat(service.path(SOCKET))
    group = service.run("getent", "group", "dcached").stdout.split(":")[2]
    assert (info.st_mode & 0o777, info.st_gid) == (0o660, int(group))
    allowed = ("--reuid=nobody", "--clear-groups")
    assert service.run("setpriv", *allowed, "--regid=dcached", "dcachectl", "ping").returncode == 0
    refused = service.run("setpriv", *allowed, "--regid=nogroup", "dcachectl", "ping", check=False)
    assert refused.returncode in (3, 7) and "ermission" in refused.stderr


def test_without_the_unit_of_the_socket_the_daemon_makes_its_own(service):
    service.systemctl("stop", "dcached.service", "dcached.socket")
    service.systemctl("mask", "--runtime", "dcached.socket")
    try:
        service.systemctl("start", "dcached.service")
        service.wait_ready()
        service.systemctl("stop", "dcached.service")
        assert not service.exists(SOCKET)
    finally:
        service.systemctl("unmask", "--runtime", "dcached.socket")


class Load:
    """Clients that set and get without a pause, and connect again when the daemon ends a connection."""

    def __init__(self, machine, threads=3):
        self.machine, self.ending = machine, threading.Event()
        self.done = self.connects = 0
        self.wrong = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def work(self, number):
        version = time.time_ns()
        while not self.ending.is_set():
            try:
                client = self.machine.client()
            except OSError as error:
                self.wrong.append(error)
                return
            with self.lock:
                self.connects += 1
            with client:
                try:
                    while not self.ending.is_set():
                        version += 1
                        client.set(b"load%d" % number, b"v", version=version, timeout_ms=5000)
                        assert client.get(b"load%d" % number, timeout_ms=5000)["version"] == version
                        with self.lock:
                            self.done += 1
                except (EOFError, ConnectionResetError, BrokenPipeError):
                    pass  # the connection ended with the daemon
                except Exception as error:  # pylint: disable=broad-except
                    self.wrong.append(error)
                    return

    def goes_on(self):
        """Until every client has got something done from now on."""
        before = self.done
        wait_until(lambda: self.done > before + 30 or self.wrong, what="the load stands still")


def test_a_restart_under_load_refuses_no_connection(service):
    with Load(service) as load:
        load.goes_on()
        for _ in range(3):
            before = service.main_pid(), load.connects
            service.systemctl("restart", "dcached")
            assert service.main_pid() not in (0, before[0])
            wait_until(lambda: load.connects >= before[1] + 3 or load.wrong, what="nobody connected again")
            load.goes_on()
        assert service.show("dcached.socket", "ActiveState") == "active"
    assert not load.wrong


def test_a_killed_daemon_serves_again_within_a_second(service):
    with service.client() as client:
        assert client.set(b"killed", b"v", version=1)["outcome"] == ACCEPTED
    before, took = restarts(service), []
    for _ in range(3):
        service.systemctl("kill", "--signal=KILL", "--kill-who=main", "dcached")
        started = time.monotonic()
        with service.client() as client:  # nothing is refused meanwhile: the socket is there
            reading = client.get(b"killed", timeout_ms=3000)
        took.append(time.monotonic() - started)
        assert (reading["state"], reading["value"]) == (FRESH, b"v")
    # Each of them where the machine is not busy with something else; nobody can promise that of a test's machine.
    assert min(took) < 1 and max(took) < 3, took
    assert restarts(service) == before + 3


def test_a_daemon_that_is_stopped_is_ended_by_the_watchdog(service):
    service.drop_in("dcached.service", "[Service]\nWatchdogSec=1s\n")
    service.systemctl("restart", "dcached")
    service.wait_ready()
    since = service.cursor()
    service.systemctl("kill", "--signal=STOP", "--kill-who=main", "dcached")
    wait_until(lambda: restarts(service) == 1, 5)
    service.wait_ready()
    assert "Watchdog timeout" in service.messages(since=since)


def test_a_daemon_that_always_fails_is_given_up(service):
    service.systemctl("stop", "dcached.service", "dcached.socket")
    service.drop_in("dcached.service", "[Service]\nExecStart=\nExecStart=/bin/false\n")
    service.systemctl("start", "dcached.service", check=False)
    wait_until(lambda: service.show("dcached.service", "ActiveState") == "failed", 20)
    assert restarts(service) <= 10
    assert service.show("dcached.service", "Result") == "exit-code"


def test_a_bad_configuration_is_not_tried_twice_while_nobody_connects(service):
    service.systemctl("stop", "dcached.service", "dcached.socket")
    service.write("/etc/dcached/dcached.conf", "[cache]\nmax_memory = much\n")
    since = service.cursor()
    assert service.systemctl("start", "dcached.service", check=False).returncode != 0
    wait_until(lambda: service.show("dcached.service", "ActiveState") == "failed")
    assert (service.show("dcached.service", "ExecMainStatus"), restarts(service)) == ("78", 0)
    lines = [e for e in service.journal(since=since) if "dcached.conf:2" in e["MESSAGE"]]
    assert lines and {e["PRIORITY"] for e in lines} == {"3"}


def knock(machine):
    """A client that connects and gives up when the connection ends."""
    try:
        with machine.client() as client:
            client.call("ping")
    except (OSError, EOFError):
        pass


def repair_of_the_manual():
    """The command that dcached(8) gives for units that were given up."""
    with open(os.path.join(REPO, "daemon", "man", "dcached.8.scd"), encoding="utf-8") as f:
        (commands,) = re.findall(r"^\t(systemctl reset-failed dcached\..*; systemctl start .*)$", f.read(), re.M)
    return commands


def test_clients_have_a_bad_configuration_tried_until_both_units_are_given_up_and_the_manual_repairs_it(service):
    service.systemctl("stop", "dcached.socket", "dcached.service")
    good = service.read("/etc/dcached/dcached.conf")
    service.write("/etc/dcached/dcached.conf", "[cache]\nmax_memory = much\n")
    service.systemctl("reset-failed")
    since = service.cursor()
    service.systemctl("start", "dcached.socket")

    def given_up():
        knock(service)
        return service.show("dcached.socket", "ActiveState") == "failed"
    wait_until(given_up, 30)
    assert service.show("dcached.socket", "Result") == "service-start-limit-hit"
    assert "Start request repeated too quickly" in service.messages(since=since)
    tried = [e for e in service.journal(since=since) if "dcached.conf:2" in e["MESSAGE"]]
    assert 1 < len(tried) <= 10
    assert not service.exists(SOCKET)

    service.write("/etc/dcached/dcached.conf", good)
    service.systemctl("reset-failed", "dcached.service")
    assert service.show("dcached.socket", "ActiveState") == "failed"
    service.run("sh", "-c", repair_of_the_manual())
    service.wait_ready()
    assert service.show("dcached.socket", "ActiveState") == "active"


def test_a_good_reload_is_taken_by_the_running_daemon(service):
    pid, since = service.main_pid(), service.cursor()
    service.write("/etc/dcached/dcached.conf", "[log]\nlevel = debug\n")
    service.systemctl("reload", "dcached")
    wait_until(lambda: "reloaded" in service.messages(since=since))
    wait_until(lambda: service.show("dcached", "ActiveState") == "active")
    assert (service.main_pid(), restarts(service)) == (pid, 0)
    service.wait_ready()
    # The new level holds, and the status line is that of a daemon at work again.
    wait_until(lambda: {"7"} & {e["PRIORITY"] for e in service.journal(since=since)})
    wait_until(lambda: service.show("dcached", "StatusText").startswith("ready, "))


def test_a_bad_reload_fails_and_changes_nothing(service):
    pid, since = service.main_pid(), service.cursor()
    service.write("/etc/dcached/dcached.conf", "[cache]\nmax_memory = much\n")
    assert service.systemctl("reload", "dcached", check=False).returncode != 0
    wait_until(lambda: service.show("dcached", "ActiveState") == "active")
    assert service.main_pid() == pid
    assert "dcached.conf:2" in service.messages(since=since)
    service.wait_ready()
    # Past the check of ExecReload, the daemon itself refuses the file, too.
    service.systemctl("kill", "--signal=HUP", "--kill-who=main", "dcached")
    wait_until(lambda: service.messages(since=since).count("dcached.conf:2") >= 2)
    wait_until(lambda: service.show("dcached", "StatusText").endswith("; the last reload failed"))
    assert (service.main_pid(), service.show("dcached", "ActiveState")) == (pid, "active")
    service.wait_ready()


def test_a_stop_answers_what_is_in_flight(service):
    # A connection that says nothing for a bound is given up: as long as a busy machine may take for what follows.
    service.write("/etc/dcached/dcached.conf", "[staleness]\nbound = 10s\n")
    service.systemctl("restart", "dcached")
    service.wait_ready()
    redis = int(service.show("redis-server", "MainPID"))
    with service.client() as client:
        service.run("kill", "-STOP", str(redis))
        try:
            asked = client.send("set", b"drained", b"v", {"version": 1, "timeout_ms": 8000})
            client.call("ping")  # so the set before it has been read
            service.systemctl("stop", "--no-block", "dcached.socket", "dcached.service")
            wait_until(lambda: service.show("dcached", "StatusText").startswith("stopping"))
            assert service.show("dcached", "ActiveState") == "deactivating"
        finally:
            service.run("kill", "-CONT", str(redis))
        error, written = client.receive_answer(asked)
        assert error is None and written[0] == ACCEPTED
    wait_until(lambda: service.show("dcached", "ActiveState") == "inactive")
    assert (service.show("dcached", "Result"), service.show("dcached", "ExecMainStatus")) == ("success", "0")
    assert not service.exists(SOCKET)


def test_the_status_line_says_state_entries_and_lag(service):
    with service.client() as client:
        for i in range(20):
            client.set(b"status%d" % i, b"v", version=time.time_ns())
    wait_until(lambda: service.show("dcached", "StatusText").startswith("ready, "))
    text = wait_until(lambda: [t for t in [service.show("dcached", "StatusText")] if int(t.split()[1]) >= 20])[0]
    assert text.endswith(" ms") and "lag up to" in text
    service.systemctl("stop", "redis-server")
    text = wait_until(lambda: [t for t in [service.show("dcached", "StatusText")] if t.startswith("not ready")])[0]
    assert "Redis" in text and " entries, lag " in text


def test_lines_of_the_journal_have_their_priority(service):
    service.systemctl("stop", "redis-server")
    since = service.cursor()
    service.systemctl("restart", "dcached")
    wait_until(lambda: "cannot connect" in service.messages(since=since))
    of_daemon = [e for e in service.journal(since=since) if e.get("_COMM") == "dcached"]
    for begin, priority in (("stopping", "6"), ("stopped", "6"), ("listening", "6"), ("cannot connect", "4")):
        assert {e["PRIORITY"] for e in of_daemon if begin in e["MESSAGE"]} == {priority}, begin
    # Fields come by the journal's own socket alone.
    (listening,) = [e for e in of_daemon if e.get("DCACHED_EVENT") == "listening"]
    assert (listening["DCACHED_SOCKET"], listening["_SYSTEMD_UNIT"]) == (SOCKET, "dcached.service")


def test_that_the_socket_unit_wins_over_the_configuration_is_said(service):
    since = service.cursor()
    service.write("/etc/dcached/dcached.conf", "[listen]\nsocket_mode = 0600\n")
    service.systemctl("restart", "dcached")
    service.wait_ready()
    (said,) = [e for e in service.journal(since=since) if "not those of [listen]" in e["MESSAGE"]]
    assert (said["PRIORITY"], said["DCACHED_MODE"]) == ("4", "0660")
    assert oct(os.stat(service.path(SOCKET)).st_mode & 0o777) == "0o660"

    since = service.cursor()
    service.write("/etc/dcached/dcached.conf", "[listen]\nsocket_mode = 0660\nsocket_group = dcached\n")
    service.systemctl("restart", "dcached")
    service.wait_ready()
    assert "listening" in service.messages(since=since) and "[listen]" not in service.messages(since=since)


def test_signals_of_a_terminal_end_it_as_well_and_it_is_started_again(service):
    before = restarts(service)
    service.systemctl("kill", "--signal=INT", "--kill-who=main", "dcached")
    wait_until(lambda: restarts(service) == before + 1)
    service.wait_ready()
