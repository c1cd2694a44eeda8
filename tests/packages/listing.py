"""The list of what is installed. Called as a program it writes the list of ./build into installed.txt."""
import os
import re
import subprocess
import tempfile

from place import BUILD, HERE

GOLDEN = os.path.join(HERE, "installed.txt")


def golden():
    with open(GOLDEN, encoding="utf-8") as f:
        return f.read().splitlines()


def stage(folder):
    """Installs the build below a folder."""
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", folder], check=True)


def listing(folder, prefix):
    """A line for each file below folder: its mode and path, or its path and where a link leads."""
    lines = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            shown = re.sub(rf"^{prefix}/", "PREFIX/", "/" + os.path.relpath(path, folder))
            # Debian 12 has units in /lib; the folder of libraries has the name of the architecture.
            shown = re.sub(r"^/lib/systemd", "/usr/lib/systemd", shown)
            shown = re.sub(r"^PREFIX/lib/(systemd|sysusers.d|tmpfiles.d)/", r"/usr/lib/\1/", shown)
            shown = re.sub(r"^PREFIX/lib/[a-z0-9_]+-linux-gnu\w*/", "PREFIX/lib/ARCH/", shown)
            if os.path.islink(path):
                lines.append(f"link {shown} -> {os.readlink(path)}")
            else:
                lines.append(f"{os.stat(path).st_mode & 0o7777:o} {shown}")
    return sorted(lines, key=lambda line: line.split(" ", 1)[1])


def main():
    with tempfile.TemporaryDirectory() as folder, open(GOLDEN, "w", encoding="utf-8") as f:
        stage(folder)
        f.write("\n".join(listing(folder, "/usr/local")) + "\n")


if __name__ == "__main__":
    main()
