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


# What says of itself why it is there.
PLAIN = {"Description", "Documentation", "ExecStart", "ListenStream", "WantedBy", "Also"}
# One comment speaks for these together; every other directive has one of its own.
TOGETHER = [
    {"StartLimitIntervalSec", "StartLimitBurst"}, {"Type", "NotifyAccess"}, {"ExecReload"},
    {"Restart", "RestartSec"}, {"User", "Group"}, {"RuntimeDirectory", "RuntimeDirectoryMode",
                                                   "RuntimeDirectoryPreserve"},
    {"CapabilityBoundingSet", "AmbientCapabilities", "NoNewPrivileges"}, {"ProtectSystem", "ProtectHome"},
    {"PrivateTmp", "PrivateMounts"}, {"PrivateIPC", "RemoveIPC"}, {"PrivateDevices", "DevicePolicy"},
    {"ProtectProc", "ProcSubset"}, {"ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs",
                                    "ProtectControlGroups"}, {"ProtectClock", "ProtectHostname"},
    {"RestrictNamespaces", "RestrictSUIDSGID", "LockPersonality", "RestrictRealtime"},
    {"SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber"},
    {"SocketUser", "SocketGroup", "SocketMode"}, {"PrivateNetwork", "RestrictAddressFamilies", "IPAddressDeny"},
]


def bare_directives(lines):
    """The directives that no comment explains."""
    bare, commented, group = [], False, set()
    for line in lines:
        name = line.partition("=")[0]
        if not line or line.startswith(("#", "[")):
            commented, group = line.startswith("#"), set()
        elif commented:
            commented, group = False, set().union(*(names for names in TOGETHER if name in names))
        elif name not in PLAIN and name not in group:
            bare.append(line)
    return bare


UNIT_FILES = {name: os.path.join(UNITS, name) for name in ("dcached.service", "dcached@.service", "dcached.socket",
                                                           "dcached@.socket")}
UNIT_FILES["redis-unix-socket.conf"] = os.path.join(REPO, "systemd", "redis-unix-socket.conf")


def lines_of(name):
    with open(UNIT_FILES[name], encoding="utf-8") as f:
        return f.read().splitlines()


@pytest.mark.parametrize("name", UNIT_FILES)
def test_every_directive_has_its_reason(name):
    assert bare_directives(lines_of(name)) == []


@pytest.mark.parametrize("name", UNIT_FILES)
def test_a_directive_that_is_added_without_a_reason_is_found_wherever_it_stands(name):
    lines = lines_of(name)
    for i, line in enumerate(lines):
        if "=" in line and not line.startswith("#"):
            assert bare_directives([*lines[:i + 1], "Delegate=yes", *lines[i + 1:]])[:1] == ["Delegate=yes"], line


def test_no_unit_hides_the_uids_of_clients():
    for name in os.listdir(UNITS):
        if name.endswith(".service"):
            with open(os.path.join(UNITS, name), encoding="utf-8") as f:
                assert not [line for line in f if line.startswith("PrivateUsers")]
