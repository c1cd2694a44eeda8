"""The Debian packages: built, looked at, installed, run, upgraded, removed."""
import os
import re
import threading

import pytest

from listing import golden, listing
from machine import SOCKET, wait_until
from place import PACKAGES, install, shell

CONF = "/etc/dcached/dcached.conf"
# What the system writes down on its own account; dpkg's lists, caches and logs. The user stays: README.Debian.
SYSTEM = re.compile(r"^/(var/(lib/(dpkg|systemd|apt|PackageKit|redis)|log|cache|tmp)(/|$)|root/|tmp|"
                    r"usr/share/man/index|"
                    r"etc/(passwd|group|g?shadow|ld\.so\.cache|\.pwd\.lock|subuid|subgid|machine-id)-?$)")


def written(machine):
    """Every file in the machine that differs from the tree it stands on, and every folder that is new."""
    top, found = machine.path("/mnt"), set()
    for parent, folders, names in os.walk(top):
        below = os.path.relpath(parent, top)
        found |= {os.path.normpath(f"/{below}/{name}") for name in names}
        found |= {os.path.normpath(f"/{below}/{name}") for name in folders
                  if not os.path.isdir(os.path.join("/", below, name))}
    return found


@pytest.fixture(scope="module")
def older(built):
    """The folder of packages of a lower version: the same but for the shipped configuration."""
    shell(built, f"""
        mkdir older
        for package in {' '.join(PACKAGES)}; do
            dpkg-deb -R ${{package}}_*.deb tree
            sed -i -E '/^(Version|Depends|Recommends)/s/0\\.1\\.0/0.0.9/g' tree/DEBIAN/control
            [ $package != dcached ] || echo '; of an older version' >>tree/etc/dcached/dcached.conf
            dpkg-deb --root-owner-group -Znone -b tree older
            rm -r tree
        done""")
    return "older"


def version(machine, package="dcached"):
    return machine.run("dpkg-query", "-W", "-f", "${Version}", package).stdout


# No init script: the units are what it is started by. One version of the policy is new to Debian 12 or old to 13.
# A word in a column of a table that is longer than the column. Four letters of a string that the compiler has put
# into an instruction.
TAGS_MEANT = re.compile(r"no-init\.d-script|(out-of-date|newer)-standards-version|"
                        r"groff-message .* cannot adjust line|spelling-error-in-binary ment meant")


def test_lintian_finds_nothing(built):
    assert "lintian" in built.said_by_build
    tags = re.findall(r"^[EWI]: .*", built.said_by_build, re.M)
    assert "\n".join(tag for tag in tags if not TAGS_MEANT.search(tag)) == ""


def paths_of(lines):
    return {line.split(" ")[1] for line in lines}


def test_every_installed_file_is_in_one_package(built):
    shell(built, "mkdir unpacked; for deb in *.deb; do dpkg-deb -x $deb unpacked; done")
    files = paths_of(listing(built.path("/root/packages/unpacked"), "/usr"))
    files = {re.sub(r"(\.\d)\.gz$", r"\1", path) for path in files}
    files = {path.replace("/zsh/vendor-completions/", "/zsh/site-functions/") for path in files}  # Debian's place
    assert paths_of(golden()) - files == set()
    assert [path for path in sorted(files - paths_of(golden())) if not re.match(
        r"PREFIX/share/doc/[a-z0-9-]+/(changelog\.gz|copyright|README\.Debian|examples/\w+\.c)$", path)] == []
    owners = shell(built, "for deb in *.deb; do dpkg-deb -c $deb; done")
    paths = [line.split()[5] for line in owners.splitlines() if not line.startswith("d")]
    assert sorted(paths) == sorted(set(paths))


def test_an_installed_service_runs_and_is_enabled_with_its_socket(installed):
    for unit in ("dcached.service", "dcached.socket"):
        assert installed.show(unit, "ActiveState") == "active"
        assert installed.systemctl("is-enabled", unit).stdout.strip() == "enabled"
    assert installed.run("getent", "passwd", "dcached").stdout.endswith(":/usr/sbin/nologin\n")
    member = ["setpriv", "--reuid=nobody", "--regid=dcached", "--clear-groups", "dcachectl"]
    assert "accepted" in installed.run(*member, "set", "price", "42").stdout
    assert installed.run(*member, "get", "price").stdout == "42"
    assert shell(installed, "dpkg --verify " + " ".join(PACKAGES)) == ""


def test_the_examples_of_the_package_are_built_with_it_and_run(installed):
    shell(installed, "dpkg-deb -x libdcache-client-dev_*.deb examples")
    said = shell(installed, "dcachectl set price 42 >/dev/null; "
                            "cc -o example examples/usr/share/doc/libdcache-client-dev/examples/plain_sync.c "
                            "$(pkg-config --cflags --libs libdcache-client) ; ./example price")
    assert said.endswith(": 42\n")


class Asking(threading.Thread):
    """Connects anew and pings, until `ended` is set."""

    def __init__(self, machine):
        super().__init__()
        self.machine, self.ended, self.answers, self.wrong = machine, threading.Event(), 0, []

    def run(self):
        while not self.ended.is_set():
            try:
                with self.machine.client(SOCKET) as client:
                    client.call("ping")
                self.answers += 1
            except (EOFError, ConnectionResetError, BrokenPipeError):
                pass  # the daemon ended what it had accepted
            except OSError as error:
                self.wrong.append(repr(error))


def test_an_upgrade_restarts_the_service_and_refuses_no_connection(clean, older):
    install(clean, older)
    assert version(clean) == "0.0.9" and "older version" in clean.read(CONF)
    before = clean.main_pid()
    asking = Asking(clean)
    asking.start()
    try:
        wait_until(lambda: asking.answers > 10)
        install(clean)
        seen = asking.answers
        wait_until(lambda: asking.answers > seen + 10)
    finally:
        asking.ended.set()
        asking.join()
    assert asking.wrong == []
    assert clean.main_pid() not in (0, before)
    # Nobody had touched the configuration: it is the new one.
    assert version(clean) == "0.1.0" and "older version" not in clean.read(CONF)


def test_a_configuration_that_was_edited_survives_an_upgrade_and_a_removal(clean, older):
    install(clean, older)
    edited = clean.read(CONF).replace(";id = default-pod", "id = edited")
    assert "id = edited" in edited
    clean.write(CONF, edited)
    install(clean, options="--force-confold")
    assert version(clean) == "0.1.0" and clean.read(CONF) == edited
    clean.wait_ready()
    with clean.client() as client:
        assert client.call("status")["pod"] == "edited"
    shell(clean, "dpkg --remove dcached")
    assert clean.read(CONF) == edited and clean.show("dcached.service", "LoadState") == "not-found"


def test_an_instance_is_started_again_by_an_upgrade_and_stopped_by_a_removal(clean, older):
    install(clean, older)
    clean.write("/etc/dcached/second.conf", "[pod]\nid = second\n")
    clean.systemctl("enable", "--now", "dcached@second.service")
    clean.wait_ready("/run/dcached/second.sock")
    before = clean.main_pid("dcached@second")
    install(clean)
    clean.wait_ready("/run/dcached/second.sock")
    assert clean.main_pid("dcached@second") not in (0, before)
    shell(clean, "dpkg --purge dcached")
    assert clean.run("pgrep", "-x", "dcached", check=False).stdout == ""
    assert clean.exists("/etc/dcached/second.conf")  # the administrator's own
    assert "second" not in shell(clean, "find /etc/systemd /run/dcached", check=False)
    clean.remove("/etc/dcached")


def test_a_service_that_was_disabled_is_neither_enabled_nor_started_by_an_upgrade(clean, older):
    install(clean, older)
    clean.systemctl("disable", "--now", "dcached.service", "dcached.socket")
    shell(clean, "dpkg -i *.deb")
    for unit in ("dcached.service", "dcached.socket"):
        assert clean.show(unit, "ActiveState") == "inactive"
        assert clean.systemctl("is-enabled", unit, check=False).stdout.strip() == "disabled"


def test_after_a_purge_nothing_is_left(clean):
    before = written(clean)
    install(clean)
    between = written(clean) - before
    assert {"/usr/sbin/dcached", CONF} <= between
    shell(clean, "dpkg --purge " + " ".join(PACKAGES))
    assert {path for path in written(clean) - before if not SYSTEM.match(path)} == set()
    assert not clean.exists("/run/dcached") and clean.run("pgrep", "-x", "dcached", check=False).stdout == ""
    assert clean.systemctl("list-unit-files", "dcached*", "--no-legend", check=False).stdout == ""
    assert clean.run("getent", "passwd", "dcached").returncode == 0

