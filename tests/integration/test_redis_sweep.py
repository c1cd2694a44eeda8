"""daemon/redis sweeping, against a scripted server: whichever answer is outstanding when the next clear comes."""
import threading

import pytest

from redis_driver import Driver
from test_redis_hostile import FakeRedis, array, bulk, recover

PAGES = {b"0": b"5", b"5": b"9", b"9": b"0"}
CLEARED = array(bulk(b"L" + b"0" * 19 + b"%019d" % 1000 + b"1763800000123456000"))


class Swept(FakeRedis):
    """Three pages of keys. The answers to those of its commands that `behind` counts come with the next answer."""

    def __init__(self, path, behind):
        self.behind, self.held, self.asked = behind, b"", []
        super().__init__(path)

    def _answer(self, words, state):
        name, keys = words[0].upper(), int(words[2]) if words[0].upper() == b"EVAL" else 0
        arguments = words[3 + keys:]
        if name == b"SCAN":
            return self._in_turn(("scan", words[1]), array(bulk(PAGES[words[1]]), array(bulk(b"dc:{0}:k"))))
        if name == b"EVAL" and len(arguments) == 5:
            return self._in_turn(("clear", arguments[4]), CLEARED)
        if name == b"EVAL" and len(arguments) in (0, 2):
            return self._in_turn(("remove", *arguments), b":1\r\n")
        return super()._answer(words, state)

    def _in_turn(self, what, answer):
        before, self.held = self.held, b""
        if len(self.asked) in self.behind:
            self.held, answer = answer, b""
        self.asked.append(what)
        return before + answer

    def wait_for(self, count):
        for _ in range(1000):
            if len(self.asked) >= count:
                return
            threading.Event().wait(0.005)
        raise AssertionError(self.asked)


# What is asked: clear, scan, remove, scan, remove, ... The second clear comes after the command of number `first`,
# and is answered together with the next one, which is a scan or a removal.
@pytest.mark.parametrize("first", [2, 3], ids=["scan", "removal"])
def test_a_clear_during_a_sweep_has_every_key_looked_at_again(folder, first):
    server = Swept(folder + "/fake.sock", behind=(first, first + 1))
    try:
        with Driver("unix:" + server.path) as d:
            recover(d, server)
            d.ask("identity 1", "identity id=1 status=ok")
            d.send("clear 1")
            server.wait_for(first + 1)
            d.send("clear 2")
            d.expect("log 2 cleared records are removed")
    finally:
        server.close()
    (name, epoch), (outstanding, *_) = server.asked[first + 1:first + 3]
    assert (name, outstanding) == ("clear", "scan" if first == 2 else "remove")
    assert [what[1] for what in server.asked[first + 3:] if what[0] == "scan"] == [b"0", b"5", b"9"], server.asked
    assert server.asked[-1] == ("remove", epoch, b"%019d" % 1000)
