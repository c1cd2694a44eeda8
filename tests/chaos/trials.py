"""
Measured trials: how long what the promises bound really takes, in a real daemon with a real Redis.

    ./dev trials                     all of them, in the numbers of RELIABILITY.md
    ./dev trials healing --count 20  one of them
    ./dev trials --list

Each prints its rows of the table: how many, how many failed, and the distribution of what was measured. The exit
status is 1 if any failed.
"""
import argparse
import sys

import trial_detection
import trial_healing
import trial_kills
from trial_rig import print_table

TRIALS = {
    # name: (function of count and seed, count)
    "flush-detection": (trial_detection.flush_detection, 1000),
    "failover-detection": (trial_detection.failover_detection, 1000),
    "aof-kill": (trial_kills.aof_kill, 100),
    "aof-kill-everysec": (trial_kills.aof_kill_everysec, 100),
    "daemon-kill": (trial_kills.daemon_kill, 200),
    "healing": (trial_healing.healing, 200),
    "no-fault": (trial_healing.no_fault, 5),
    "stopped-daemon": (trial_healing.stopped_daemon, 200),
}


def main():
    parser = argparse.ArgumentParser(prog="dev trials", description="measured trials")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all, if none is named")
    parser.add_argument("--count", type=int, help="instead of each one's own")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    parser.add_argument("--list", action="store_true", help="the names, what they do, their counts")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in TRIALS]
    if unknown:
        parser.error(f"no trial {unknown[0]}: {' '.join(TRIALS)}")
    if options.list:
        for name, (function, count) in TRIALS.items():
            print(f"{name:20} {count:6}  {function.__doc__.strip().splitlines()[0]}")
        return 0
    rows = []
    for name in options.names or TRIALS:
        function, count = TRIALS[name]
        made = function(options.count or count, seed=options.seed)
        print_table(made)
        rows += made
    if not options.names:
        print()
        print_table(rows)
    return 1 if any(row.failures or not row.count for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
