"""Where things are, for the tests of packages."""
import os

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
BUILD = os.environ.get("DCACHED_BUILD", os.path.join(REPO, "build"))
ROOT = os.environ.get("DCACHED_ROOT", "/")  # what the machine stands on
FOLDER = "/root/packages"  # in the machine
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
