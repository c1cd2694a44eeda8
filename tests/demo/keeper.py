"""
Outlives the demo: when the demo ends, however it ends, kill -9 included, this ends the processes it left behind
and removes its folder. Started by demo.py with the read end of a pipe as standard input. usage: keeper.py FOLDER
"""
import os
import shutil
import signal
import sys


def of_folder(pid, folder):
    """Does the process stand in the folder or name it? Then it is one of the demo's."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            if os.fsencode(folder) in f.read():
                return True
        return os.readlink(f"/proc/{pid}/cwd").startswith(folder)
    except OSError:
        return False


def main():
    folder = sys.argv[1]
    sys.stdin.buffer.read()  # ends when the demo does
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) != os.getpid() and of_folder(pid, folder):
            os.kill(int(pid), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
