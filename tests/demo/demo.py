"""The demo: three pods and one Redis in a temporary folder, five scenarios, PASS or FAIL for each."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

# pylint: disable=wrong-import-position
from scenarios import SCENARIOS
from stage import BOUND_S, HEARTBEAT_S, World

TOTALS = ["version_checks", "accepted", "duplicates", "stale_rejected", "reads", "hits", "misses", "refused",
          "errors", "stale_served"]


class Screen:
    """Lines to standard output; on a terminal also one line that says what is going on."""

    def __init__(self):
        self.live = sys.stdout.isatty()

    def progress(self, text):
        if self.live:
            print(f"\r\033[K... {text}", end="", flush=True)

    def line(self, text=""):
        print(("\r\033[K" if self.live else "") + text, flush=True)


def play(world, screen):
    """Runs the scenarios one after the other; gives how many passed."""
    passed = 0
    for number, scenario in enumerate(SCENARIOS, 1):
        screen.line(f"\n{number}. {scenario.__doc__}")
        screen.progress(f"scenario {number} of {len(SCENARIOS)}")
        begin = time.monotonic()
        try:
            scenario(world)
            verdict = "PASS"
            passed += 1
        except Exception as error:  # a scenario that breaks has failed; the others still run
            verdict = f"FAIL: {type(error).__name__}: {error}"
            for pod in world.pods:
                pod.proxy.heal()
        screen.line(f"   {verdict} ({time.monotonic() - begin:.1f} s)")
    return passed


def report(world, screen, passed):
    stats = [pod.stats() for pod in world.pods]
    total = {name: sum(s[name] for s in stats) for name in TOTALS}
    answered = total["hits"] + total["misses"]
    rate = 100 * answered / total["reads"] if total["reads"] else 0
    screen.line("\nCounters of the daemons, added up")
    screen.line(f"   total version checks   {total['version_checks']} ({total['accepted']} newer, "
                f"{total['duplicates']} known already)")
    screen.line(f"   stale data rejected    {total['stale_rejected']}")
    screen.line(f"   success rate           {rate:.1f} % of {total['reads']} reads proven fresh; "
                f"{total['refused']} refused, {total['errors']} errors, {total['stale_served']} stale")
    screen.line(f"\n{passed} of {len(SCENARIOS)} scenarios passed")


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    screen = Screen()
    folder = tempfile.mkdtemp(prefix="dcached-demo-")
    tempfile.tempdir = folder
    keeper = subprocess.Popen([sys.executable, os.path.join(HERE, "keeper.py"), folder], stdin=subprocess.PIPE,
                              start_new_session=True)
    try:
        screen.progress("starting Redis and three daemons")
        with World(folder, lambda text: screen.line("   " + text)) as world:
            names = ", ".join(pod.name for pod in world.pods)
            screen.line(f"Redis, and the pods {names}, each with a link of its own to Redis. D = {BOUND_S:g} s, "
                        f"H = {HEARTBEAT_S:g} s.")
            passed = play(world, screen)
            report(world, screen, passed)
        return 0 if passed == len(SCENARIOS) else 1
    except KeyboardInterrupt:
        screen.line("interrupted")
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        keeper.stdin.close()
        keeper.wait(10)


if __name__ == "__main__":
    sys.exit(main())
