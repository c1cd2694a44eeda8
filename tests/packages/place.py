"""Where things are, for the tests of packages."""
import os
import platform

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("DCACHED_BUILD", os.path.join(REPO, "build"))
RELEASE = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
FRESH = os.path.join(REPO, "build-trees", RELEASE)  # of tree.sh
FOLDER = "/root/packages"  # in the machine
PUBLIC = "/srv/packages"  # in a fresh one, where apt's own user may read
PACKAGES = ["dcached", "dcachectl", "libdcache-client-dev", "libdcache-client0"]
CLEAN = ["env", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]


def shell(machine, text, check=True, timeout=60):
    """Commands in the folder of the packages; what they printed."""
    done = machine.run(*CLEAN, "sh", "-ec", f"exec 2>&1; cd {FOLDER}; {text}", check=check, timeout=timeout)
    return done.stdout


def install(machine, folder=".", options=""):
    """All packages of a folder, until the daemon is ready."""
    shell(machine, f"dpkg --force-unsafe-io {options} -i {folder}/*.deb")
    machine.wait_ready()
