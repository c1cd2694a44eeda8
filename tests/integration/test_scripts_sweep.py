"""sweep.lua: what a clear has left is removed, and meta says how far."""
from test_scripts import EPOCH, META, RUN, SEQ, SWEEP, db, propose, server, stored, write


def test_sweep_removes_what_is_cleared_and_nothing_else(db):
    write(db, "old", version=1)
    write(db, "tomb", version=1, delete=True)
    db.hset(META, "cleared", SEQ + 2)
    write(db, "new", version=1)
    db.set("dc:{0}:text", "plain")
    db.rpush("dc:{0}:list", "x")
    keys = ["dc:{0}:" + k for k in ("old", "tomb", "new", "text", "list", "none")]
    assert db.eval(SWEEP, 1 + len(keys), META, *keys) == 2
    assert [db.exists(k) for k in keys] == [0, 0, 1, 1, 1, 0]


def test_sweep_counts_its_steps_and_notes_its_end(db):
    write(db, "old", version=1)
    db.hset(META, "cleared", SEQ + 1)
    assert db.eval(SWEEP, 2, META, "dc:{0}:old") == 1
    assert db.eval(SWEEP, 1, META) == 0
    assert db.hmget(META, "sweeping", "swept") == [b"2", None]
    target = b"%019d" % (SEQ + 1)
    db.eval(SWEEP, 1, META, "f" * 32, target)  # begun in another epoch
    db.eval(SWEEP, 1, META, EPOCH, b"%019d" % (SEQ + 2))  # of more than was cleared
    assert db.hget(META, "swept") is None
    db.eval(SWEEP, 1, META, EPOCH, target)
    db.eval(SWEEP, 1, META, EPOCH, b"%019d" % SEQ)  # an older sweep ends late
    assert db.hget(META, "swept") == b"%d" % (SEQ + 1)


def test_a_new_epoch_is_to_be_swept_again(db):
    db.hset(META, mapping={"cleared": SEQ, "swept": SEQ})
    assert propose(db, EPOCH, RUN, "a" * 32) == b"P"
    assert db.hmget(META, "cleared", "swept") == [b"%d" % SEQ, None]


def test_sweep_without_readable_meta_removes_nothing(db):
    write(db, "old", version=1)
    db.hset(META, "cleared", "x")
    assert db.eval(SWEEP, 2, META, "dc:{0}:old") == 0
    assert stored(db, "old") is not None
