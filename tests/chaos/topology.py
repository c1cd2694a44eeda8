"""What Redis a run stands on, and how the checker learns the truth of it."""
from collections import namedtuple

# keeps: what a kill -9 leaves: "everything" (append-only file), "snapshot", "nothing".
# guarded: the pods have the replica guard on.
Topology = namedtuple("Topology", "name keeps replica clocks options guarded", defaults=(False,))

AOF = {"appendonly": "yes", "aof_use_rdb_preamble": "no", "auto_aof_rewrite_percentage": 0}

TOPOLOGIES = {t.name: t for t in [
    Topology("always", "everything", False, False, {**AOF, "appendfsync": "always"}),
    Topology("pair", "everything", True, False, {**AOF, "appendfsync": "everysec", "repl_diskless_sync_delay": 0,
                                                 "repl_backlog_size": "32mb"}),
    Topology("guarded", "everything", True, False, {**AOF, "appendfsync": "everysec",
                                                    "repl_diskless_sync_delay": 0,
                                                    "repl_backlog_size": "32mb"}, True),
    Topology("none", "nothing", False, False, {}),
    Topology("everysec", "everything", False, False, {**AOF, "appendfsync": "everysec"}),
    Topology("clocks", "everything", False, True, {**AOF, "appendfsync": "everysec"}),
    Topology("rdb", "snapshot", False, False, {"save": "1 1"}),
    Topology("aof-no", "everything", False, False, {**AOF, "appendfsync": "no"}),
]}

COMMON = {"enable_debug_command": "yes", "busy_reply_threshold": 30, "loglevel": "warning"}


def aof_is_truth(topology):
    """One server, whose append-only file holds every commit in its order."""
    return topology.keeps == "everything" and not topology.replica
