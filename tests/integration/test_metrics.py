"""/metrics, /livez and /readyz of the real daemon, and what is written about them."""
import os
import stat
import subprocess

import pytest

import exposition
from daemon import Daemon, RpcError, build_dir
from exposition import value_of
from http_raw import ask, connect, receive, scrape
from private_redis import free_port


@pytest.fixture
def listen():
    return {"metrics": {"listen": f"127.0.0.1:{free_port()}"}}


@pytest.fixture
def daemon(shared_redis, start_daemon, listen):
    return start_daemon(shared_redis, config={**listen, "redis": {"key_prefix": f"m{free_port()}:"}})


def test_metrics_are_what_promtool_calls_good(daemon):
    done = subprocess.run(["promtool", "check", "metrics"], input=ask(daemon, "/metrics").body, text=True,
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_manual_page_lists_exactly_the_metrics_there_are(daemon):
    found = {}
    for name, family in scrape(daemon).items():
        labels = family.labels()
        if name.endswith("_info"):
            labels = {label: ["..."] for label in labels}
        found[name] = (family.kind, labels, family.help)
    assert found == exposition.manual()


def test_reads_and_writes_are_counted_by_outcome(daemon):
    before = scrape(daemon)
    with daemon.client() as client:
        client.set(b"k", b"one", version=5)
        client.set(b"k", b"old", version=4)
        client.set(b"k", b"one", version=5)
        client.get(b"k")
        client.get(b"k")
        client.get(b"absent")
        with pytest.raises(RpcError):
            client.get(b"k", min_version=6)
    after = scrape(daemon)

    def grown(name, **labels):
        return value_of(after, name, **labels) - value_of(before, name, **labels)
    assert grown("dcached_lookups_total", result="hit") == 2
    assert grown("dcached_lookups_total", result="miss") == 1
    assert grown("dcached_lookups_total", result="refused") == 1
    assert grown("dcached_refusals_total", operation="read", reason="min_version") == 1
    assert grown("dcached_writes_total", outcome="accepted") == 1
    assert grown("dcached_writes_total", outcome="stale") == 1
    assert grown("dcached_writes_total", outcome="duplicate") == 1


def test_every_histogram_adds_up_and_staleness_stays_below_the_bound(daemon):
    with daemon.client() as client:
        client.set(b"k", b"v")
        for _ in range(100):
            client.get(b"k")
    families = scrape(daemon)
    for name in [n for n, f in families.items() if f.kind == "histogram"]:
        counts = [v for (suffix, _), v in families[name].samples.items() if suffix == "_bucket"]
        assert counts == sorted(counts) and counts[-1] == value_of(families, name, "_count"), name
    count = value_of(families, "dcached_staleness_seconds", "_count")
    assert count == value_of(families, "dcached_lookups_total", result="hit") >= 100
    assert 0 < value_of(families, "dcached_staleness_seconds", "_sum") < 1.0 * count
    assert value_of(families, "dcached_bound_seconds") == 1


def test_lag_is_the_way_of_a_message_from_one_pod_to_another(shared_redis, start_daemon, listen):
    prefix = {"redis": {"key_prefix": f"m{free_port()}:"}}
    writer = start_daemon(shared_redis, config=prefix)
    reader = start_daemon(shared_redis, role="reader", config={**prefix, **listen})
    before = scrape(reader)
    with writer.client() as client:
        for i in range(50):
            client.set(b"k%d" % i, b"v")
    reader.wait_until(lambda: value_of(scrape(reader), "dcached_lag_seconds", "_count") -
                      value_of(before, "dcached_lag_seconds", "_count") >= 50)
    families = scrape(reader)
    mean = (value_of(families, "dcached_lag_seconds", "_sum") /
            value_of(families, "dcached_lag_seconds", "_count"))
    assert 0 < mean < 0.5


def test_a_pod_without_redis_is_alive_and_not_ready_and_says_why(redis, start_daemon, listen):
    daemon = start_daemon(redis, config=listen)
    assert ask(daemon, "/readyz").body == "ready\n"
    redis.pause()
    answer = daemon.wait_until(lambda: (a := ask(daemon, "/readyz")).status == 503 and a)
    assert answer.body.startswith("not ready: ") and answer.body.count("\n") == 1 and len(answer.body) > 30
    assert (ask(daemon, "/livez").status, ask(daemon, "/livez").body) == (200, "alive\n")
    families = scrape(daemon)
    assert value_of(families, "dcached_ready") == 0
    reasons = [v for v in families["dcached_not_ready"].samples.values()]
    assert sorted(reasons)[-2:] == [0, 1]
    assert value_of(families, "dcached_proof_age_seconds") > 1
    redis.resume()
    daemon.wait_until(lambda: ask(daemon, "/readyz").status == 200)
    assert sum(scrape(daemon)["dcached_not_ready"].samples.values()) == 0


def test_a_daemon_that_never_saw_redis_is_alive_and_its_proof_infinitely_old(listen):
    with Daemon(config=listen).start(ready=False) as daemon:
        assert ask(daemon, "/livez").status == 200
        assert ask(daemon, "/readyz").status == 503
        assert value_of(scrape(daemon), "dcached_proof_age_seconds") == float("inf")


def test_a_daemon_that_stops_is_not_ready_any_more(daemon):
    with daemon.client() as client, connect(daemon) as sock:
        # A read that waits keeps the daemon from ending at once.
        client.send("get", b"absent", {"strong": True})
        daemon.process.terminate()
        sock.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            assert receive(sock).status == 503
        except (EOFError, ConnectionResetError):
            pass  # it had ended already
    assert daemon.process.wait(10) == 0


def test_head_is_answered_with_the_length_and_no_body(daemon):
    answer = ask(daemon, "/readyz", method="HEAD")
    assert answer.status == 200 and answer.headers["content-length"] == "6" and answer.body == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "NONSENSE"])
def test_other_methods_are_not_allowed(daemon, method):
    answer = ask(daemon, "/metrics", method=method)
    assert answer.status == 405 and answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "//metrics", "/livez/../metrics", "/x%0d%0ay"])
def test_other_paths_are_not_found(daemon, path):
    assert ask(daemon, path).status == 404


def test_the_root_lists_the_others(daemon):
    body = ask(daemon, "/").body
    assert [line.split()[0] for line in body.splitlines()] == ["/", "/metrics", "/livez", "/readyz"]
    for line in body.splitlines():
        assert ask(daemon, line.split()[0]).status == 200


def test_a_query_is_ignored(daemon):
    assert ask(daemon, "/livez?verbose=1").body == "alive\n"


def test_a_connection_of_http_1_1_is_kept_and_one_of_1_0_is_closed(daemon):
    request = "GET /livez HTTP/{}\r\nHost: x\r\n{}\r\n"
    with connect(daemon) as sock:
        for _ in range(5):
            sock.sendall(request.format("1.1", "").encode())
            assert receive(sock).body == "alive\n"
        sock.sendall(request.format("1.1", "Connection: close\r\n").encode())
        assert receive(sock).body == "alive\n"
        assert sock.recv(1) == b""
    with connect(daemon) as sock:
        sock.sendall(request.format("1.0", "").encode())
        assert receive(sock).body == "alive\n"
        assert sock.recv(1) == b""
    assert value_of(scrape(daemon), "dcached_http_connections_total") == 3


def test_pipelined_requests_are_all_answered(daemon):
    with connect(daemon) as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        data = b""
        while data.count(b"alive\n") < 20:
            part = sock.recv(1 << 16)
            assert part
            data += part


def test_a_unix_socket_has_the_mode_of_the_other_and_goes_with_the_daemon(shared_redis, start_daemon, folder):
    path = os.path.join(folder, "metrics.sock")
    daemon = start_daemon(shared_redis, config={"metrics": {"listen": f"unix:{path}"},
                                                "listen": {"socket_mode": "0620"}})
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o620
    assert ask(daemon, "/livez").status == 200
    daemon.kill()
    assert os.path.exists(path)
    daemon.start()  # what a killed daemon left is replaced
    assert ask(daemon, "/livez").status == 200
    assert daemon.stop() == 0
    assert not os.path.exists(path)


@pytest.mark.parametrize("kind", ["file", "listening"])
def test_what_stands_at_the_path_of_the_unix_socket_stays(shared_redis, start_daemon, folder, kind):
    path = os.path.join(folder, "metrics.sock")
    if kind == "file":
        with open(path, "w", encoding="ascii") as f:
            f.write("precious")
    else:
        start_daemon(shared_redis, config={"metrics": {"listen": f"unix:{path}"}})
    before = os.stat(path).st_ino
    config = {"metrics": {"listen": f"unix:{path}"}}
    second = Daemon(redis=shared_redis.socket, pod="second", config=config).spawn()
    assert second.process.wait(10) == 1
    assert "something is there already" in second.log()
    assert os.stat(path).st_ino == before
    second.remove()


def test_a_port_that_is_taken_is_said_at_the_start(daemon, shared_redis):
    second = Daemon(redis=shared_redis.socket, pod="second", config={"metrics": daemon.config["metrics"]}).spawn()
    assert second.process.wait(10) == 1
    assert "Address already in use" in second.log() and "[metrics] listen" in second.log()
    second.remove()


def test_an_address_that_this_machine_gets_later_keeps_no_daemon_from_starting(shared_redis, start_daemon):
    daemon = start_daemon(shared_redis, config={"metrics": {"listen": f"192.0.2.7:{free_port()}"}})
    assert daemon.status()["ready"] and "metrics listen=192.0.2.7:" in daemon.log()


@pytest.mark.parametrize("listen", ["nonsense", ":0", ":65536", "host:", "[::1]", "unix:relative", "http://x:1",
                                    "unix:/" + "x" * 107])
def test_an_address_that_cannot_be_is_a_bad_configuration(listen):
    done = subprocess.run([os.path.join(build_dir(), "daemon", "dcached"), "--check-config"], capture_output=True,
                          text=True, check=False, env={**os.environ, "DCACHED_METRICS_LISTEN": listen})
    assert done.returncode == 78 and "DCACHED_METRICS_LISTEN" in done.stderr


def test_nothing_listens_by_default(shared_redis, start_daemon):
    daemon = start_daemon(shared_redis)
    with open(f"/proc/{daemon.process.pid}/net/tcp", encoding="ascii") as f:
        listening = {line.split()[9] for line in f.readlines()[1:] if line.split()[3] == "0A"}
    fds = f"/proc/{daemon.process.pid}/fd"
    own = {os.readlink(os.path.join(fds, fd)) for fd in os.listdir(fds)}
    assert not {f"socket:[{inode}]" for inode in listening} & own


def test_the_name_of_a_pod_is_escaped(shared_redis, start_daemon, listen):
    daemon = start_daemon(shared_redis, config={**listen, "pod": {"id": 'a"b\\c'}})
    text = ask(daemon, "/metrics").body
    assert r'dcached_pod_info{pod="a\"b\\c",role="writer"} 1' in text
    subprocess.run(["promtool", "check", "metrics"], input=text, text=True, check=True)
