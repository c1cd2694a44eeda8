"""Commands run by somebody else."""
import os

from daemon import REPO, build_dir


def closed_to_others(path):
    """Whether a folder on the way is, as a clone in the home of root."""
    while path != "/":
        if not os.stat(path).st_mode & 0o001:
            return True
        path = os.path.dirname(path)
    return False


def as_user(uid, gid=None, groups=()):
    """What to put before a command. A right beyond the user's own: to read this tree where it is closed."""
    supplementary = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    closed = any(closed_to_others(os.path.realpath(path)) for path in (REPO, build_dir()))
    right = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"] if closed else []
    return ["setpriv", "--reuid", str(uid), "--regid", str(gid or uid), *supplementary, *right]
