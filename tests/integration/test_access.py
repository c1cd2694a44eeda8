"""Who may connect, read, write and administer, as other users and groups."""
import json
import os
import subprocess
import sys

import pytest

from daemon import PERMISSION, REPO, RpcError, build_dir
from users import as_user

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="changes the user")

# What somebody else gets for one call: its result or [code, text].
CALL = """
import json, sys
sys.path.insert(0, sys.argv[1])
from daemon import Client, RpcError
try:
    params = [p.encode() for p in sys.argv[4:]]
    print(json.dumps([None, repr(Client(sys.argv[2]).call(sys.argv[3], *params))]))
except RpcError as error:
    print(json.dumps([error.code, error.text]))
except OSError as error:
    print(json.dumps(["connect", error.strerror]))
"""


def call_as(uid, path, method, *params, gid=None, groups=()):
    """(error code or None, result or text) of one call by that user."""
    run = subprocess.run([*as_user(uid, gid, groups), sys.executable, "-c", CALL,
                          os.path.join(REPO, "tests", "integration"), path, method, *params],
                         capture_output=True, text=True, timeout=30, check=True)
    return tuple(json.loads(run.stdout))


@pytest.fixture
def start(redis, start_daemon, folder):
    """A daemon whose socket everybody can reach."""
    os.chmod(folder, 0o755)

    def begin(access=None, admin=False, **listen):
        listen = {"socket": f"{folder}/dcached.sock", "socket_mode": "0666", **listen}
        if admin:
            listen["admin_socket"] = f"{folder}/dcached-admin.sock"
        return start_daemon(redis, config={"listen": listen, "access": access or {}})
    return begin


def test_empty_lists_let_everybody_do_everything(start):
    daemon = start()
    assert call_as(1001, daemon.socket, "set", "k", "v")[0] is None
    assert call_as(1002, daemon.socket, "get", "k")[0] is None
    assert call_as(1003, daemon.socket, "clear")[0] is None


def test_doctor_of_a_user_who_may_not_write_finds_nothing_wrong(start):
    daemon = start({"read": "0 1002", "write": "0", "admin": "0"})
    command = [f"{build_dir()}/client/dcachectl/dcachectl", "-s", daemon.socket, "doctor", "--json"]
    run = subprocess.run([*as_user(1002), *command], capture_output=True, text=True, timeout=30, check=False)
    (finding,) = [f for f in json.loads(run.stdout)["findings"] if f["check"] == "canary"]
    assert run.returncode == 0 and finding["level"] == "INFO" and "[access] write" in finding["cause"], run.stdout


def test_each_list_holds_for_its_methods_and_the_error_names_uid_and_list(start):
    daemon = start({"read": "0, 1001 1002", "write": "0 1001", "admin": "0"})
    assert call_as(1001, daemon.socket, "set", "k", "v")[0] is None
    assert call_as(1002, daemon.socket, "get", "k")[0] is None
    code, text = call_as(1002, daemon.socket, "set", "k", "w")
    assert code == PERMISSION and "uid 1002 " in text and "[access] write" in text
    code, text = call_as(1003, daemon.socket, "get", "k")
    assert code == PERMISSION and "uid 1003 " in text and "[access] read" in text
    assert call_as(1001, daemon.socket, "clear")[0] == PERMISSION
    assert call_as(1001, daemon.socket, "verify")[0] == PERMISSION
    for method in ("hello", "ping", "status", "stats"):
        assert call_as(1003, daemon.socket, method)[0] is None
    for method in ("mget", "watch", "versions", "inspect", "trace"):
        assert call_as(1003, daemon.socket, method)[0] == PERMISSION
    assert daemon.call("get", b"k")[2] == b"v"
    assert daemon.stats()["requests_denied"] == 9
    denied = [line for line in daemon.log().splitlines() if "request denied" in line]
    assert len(denied) == 9 and "uid=1002" in denied[0] and "needs=write" in denied[0]


def test_root_is_not_exempt(start):
    daemon = start({"read": "1001"})
    with pytest.raises(RpcError) as caught:
        daemon.call("get", b"k")
    assert caught.value.code == PERMISSION and "uid 0 " in caught.value.text


def test_a_group_is_primary_or_supplementary(start):
    daemon = start({"write": "@2001"})
    assert call_as(1001, daemon.socket, "set", "k", "v", gid=2001)[0] is None
    assert call_as(1001, daemon.socket, "set", "k", "v", gid=7, groups=[8, 2001])[0] is None
    assert call_as(1001, daemon.socket, "set", "k", "v", groups=[*range(3000, 3500), 2001])[0] is None
    assert call_as(2001, daemon.socket, "set", "k", "v", gid=7, groups=[8])[0] == PERMISSION


def test_a_flood_of_denied_requests_does_not_flood_the_log(start):
    daemon = start({"read": "1001"})
    with daemon.client() as client:
        for _ in range(500):
            with pytest.raises(RpcError):
                client.call("get", b"k")
    assert daemon.stats()["requests_denied"] == 500
    assert sum("request denied" in line for line in daemon.log().splitlines()) < 60


def test_admin_methods_are_answered_on_the_admin_socket_alone(start, folder):
    daemon = start(admin=True)
    code, text = call_as(0, daemon.socket, "clear")
    assert code == PERMISSION and text.endswith(f"call it on {folder}/dcached-admin.sock")
    admin = f"{folder}/dcached-admin.sock"
    assert os.stat(admin).st_mode & 0o777 == 0o600
    assert call_as(0, admin, "clear")[0] is None
    assert call_as(0, admin, "set", "k", "v")[0] is None
    assert call_as(1001, admin, "ping") == ("connect", "Permission denied")
    daemon.stop()
    assert not os.path.exists(admin)


def test_the_admin_socket_has_lists_too(start, folder):
    daemon = start({"admin": "1001"}, admin=True, admin_socket_mode="0666")
    admin = f"{folder}/dcached-admin.sock"
    assert call_as(1001, admin, "clear")[0] is None
    assert call_as(1002, admin, "clear")[0] == PERMISSION
    assert call_as(1001, daemon.socket, "clear")[0] == PERMISSION


def test_a_reload_holds_for_clients_that_are_connected(start):
    daemon = start()
    with daemon.client() as client:
        watch = client.call("watch")
        assert client.get(b"k")["version"] == 0
        daemon.config["access"] = {"read": "1001"}
        daemon.write_config()
        daemon.process.send_signal(1)
        daemon.wait_until(lambda: "reloaded" in daemon.log())
        with pytest.raises(RpcError) as caught:
            client.get(b"k")
        assert caught.value.code == PERMISSION
        client.set(b"k", b"v")
        assert client.call("unwatch", watch) is False
        assert not client.events
