"""What can be said of the units without running them."""
import os
import shutil
import subprocess

import pytest

from machine import BUILD, REPO

UNITS = os.path.join(BUILD, "systemd")


def exposure(folder, unit, threshold):
    """None, or what systemd-analyze says when the exposure (times ten) is above the threshold."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze")
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager",
                           f"--threshold={threshold}", os.path.join(folder, unit)],
                          capture_output=True, text=True, check=False)
    assert "Overall exposure level" in done.stdout, done.stderr
    return None if done.returncode == 0 else done.stdout


@pytest.mark.parametrize("unit", ["dcached.service", "dcached@.service"])
def test_with_redis_over_tcp_the_exposure_is_1_2_at_most(unit):
    assert exposure(UNITS, unit, 12) is None
    assert exposure(UNITS, unit, 11), "a smaller threshold holds: write it here"


@pytest.mark.parametrize("unit", ["dcached.service", "dcached@.service"])
def test_with_redis_on_a_unix_socket_the_exposure_is_half_a_point_at_most(unit, tmp_path):
    shutil.copy(os.path.join(UNITS, unit), tmp_path)
    (tmp_path / f"{unit}.d").mkdir()
    shutil.copy(os.path.join(REPO, "systemd", "redis-unix-socket.conf"), tmp_path / f"{unit}.d")
    assert exposure(tmp_path, unit, 5) is None


def test_every_directive_of_the_sandbox_has_its_reason():
    with open(os.path.join(UNITS, "dcached.service"), encoding="utf-8") as f:
        lines = f.read().split("\n")
    service = lines[lines.index("[Service]"):lines.index("[Install]")]
    explained = False
    for line in service[1:]:
        if line.startswith("#"):
            explained = True
        elif not line:
            explained = False
        else:
            assert explained or line.startswith(("ExecStart=", "Type=")), f"{line}: why?"


def test_no_unit_hides_the_uids_of_clients():
    for name in os.listdir(UNITS):
        if name.endswith(".service"):
            with open(os.path.join(UNITS, name), encoding="utf-8") as f:
                assert not [line for line in f if line.startswith("PrivateUsers")]
