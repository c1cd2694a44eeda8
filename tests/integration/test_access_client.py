"""The library looks at who serves it; dcachectl finds the admin socket."""
import os
import subprocess

import pytest

from daemon import build_dir
from users import as_user

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="changes the user")
CTL = os.path.join(build_dir(), "client", "dcachectl", "dcachectl")


def ping_as(uid, path, command=("ping",), **env):
    """(exit status, what it said) of dcachectl run by that user."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DCACHED_")}
    run = subprocess.run([*as_user(uid), CTL, "-s", path, *command], capture_output=True,
                         text=True, timeout=30, env={**kept, **env}, check=False)
    return run.returncode, run.stdout + run.stderr


def start_as(uid, start_daemon, redis, folder, mode, owner=0):
    """A daemon run by that user, its socket in a directory of that mode."""
    os.chmod(redis.dir, 0o755)
    os.chmod(redis.socket, 0o777)
    os.chmod(folder, 0o755)
    place = os.path.join(folder, "place")
    os.mkdir(place)
    os.chown(place, owner, owner)
    os.chmod(place, mode)
    return start_daemon(redis, dir=place, prefix=["setpriv", "--reuid", str(uid), "--regid", str(uid),
                                                  "--clear-groups"],
                        config={"listen": {"socket": f"{place}/dcached.sock", "socket_mode": "0666"}})


def test_the_owner_of_the_directory_is_trusted(redis, start_daemon, folder):
    daemon = start_as(1001, start_daemon, redis, folder, 0o755, owner=1001)
    assert ping_as(1002, daemon.socket)[0] == 0


def test_a_sidecar_of_another_uid_in_a_shared_volume_is_trusted(redis, start_daemon, folder):
    daemon = start_as(1001, start_daemon, redis, folder, 0o777)
    assert ping_as(1002, daemon.socket)[0] == 0


def test_somebody_else_in_a_place_like_tmp_is_not_trusted(redis, start_daemon, folder):
    daemon = start_as(1001, start_daemon, redis, folder, 0o1777)
    status, said = ping_as(1002, daemon.socket)
    assert status == 7 and "uid 1001 listens" in said and "uid 1002" in said
    assert ping_as(1001, daemon.socket)[0] == 0
    assert ping_as(1002, daemon.socket, DCACHED_SERVER_UID="1001")[0] == 0


def test_a_wanted_uid_is_wanted_even_of_root(redis, start_daemon, folder):
    os.chmod(folder, 0o755)
    daemon = start_daemon(redis, config={"listen": {"socket": f"{folder}/dcached.sock", "socket_mode": "0666"}})
    assert ping_as(1002, daemon.socket)[0] == 0
    assert ping_as(1002, daemon.socket, DCACHED_SERVER_UID="root")[0] == 0
    status, said = ping_as(1002, daemon.socket, DCACHED_SERVER_UID="1001")
    assert status == 7 and "uid 0 listens" in said and "to be uid 1001" in said


def test_dcachectl_finds_the_admin_socket_beside_the_main_one(redis, start_daemon, folder):
    admin = f"{folder}/dcached-admin.sock"
    daemon = start_daemon(redis, config={"listen": {"socket": f"{folder}/dcached.sock", "admin_socket": admin}})
    assert ping_as(0, daemon.socket, ("clear", "--yes"))[0] == 0
    assert ping_as(0, daemon.socket, ("clear", "--yes", "--admin-socket", daemon.socket))[0] == 7
    assert ping_as(0, f"{folder}/nowhere", ("clear", "--yes"), DCACHED_ADMIN_SOCKET=admin)[0] == 0
    assert ping_as(0, daemon.socket, ("verify",))[0] == 0
