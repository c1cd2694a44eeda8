"""After convergence the chaos runner asks Redis itself: whoever differs from it is found, on the real thing."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "chaos"))

# pylint: disable=wrong-import-position
import converged
from daemon import ABSENT, FRESH, STALE

KEYS = [b"key:%d" % number for number in range(300)]
FEW = [b"value", b"deleted", b"never"]


def never():
    return False


def answers_of(daemon, keys):
    return converged.of_pod(daemon.client, keys, never)


@pytest.fixture
def pod(redis, start_daemon):
    daemon = start_daemon(redis)
    with daemon.client() as client:
        client.set(b"value", b"what was written", version=7)
        client.set(b"deleted", b"x", version=1)
        client.delete(b"deleted", version=9)
    return daemon


def test_what_redis_holds_is_what_a_pod_answers(redis, pod):
    with redis.client() as client:
        held = converged.of_redis(client, FEW)
    assert held == {b"value": ("value", 7, b"what was written"), b"deleted": ("tombstone", 9, b""),
                    b"never": converged.NOTHING}
    answers = answers_of(pod, FEW)
    assert not list(converged.differences(held, answers, held))
    with pod.client() as client:
        client.set(b"value", b"newer", version=8)
    found = list(converged.differences(held, answers_of(pod, FEW), held))
    assert found == ["value: value 8 b'newer', but Redis holds value 7 b'what was written'"]


def test_a_pod_that_answers_absent_for_all_keys_differs(redis, pod):
    with redis.client() as client:
        held = converged.of_redis(client, FEW)
    found = list(converged.differences(held, dict.fromkeys(FEW, converged.NOTHING), held))
    assert [line.split(":")[0] for line in found] == ["value", "deleted"]
    found = list(converged.differences(held, {}, held))
    assert len(found) == 3 and all("no answer" in line for line in found)


def test_only_where_redis_has_evicted_a_pod_may_have_more_than_redis(redis, pod):
    answers = answers_of(pod, FEW)
    with redis.client() as client:
        client.delete("dc:{0}:value")
        held = converged.of_redis(client, FEW)
    assert [line[:6] for line in converged.differences(held, answers, held)] == ["value:"]
    assert not list(converged.differences(held, answers, held, evicted=True))
    wrong = {**answers, b"never": ("no answer", 0, b""), b"deleted": converged.NOTHING}
    assert len(list(converged.differences(held, wrong, held, evicted=True))) == 2


def test_what_was_cleared_is_not_there_although_its_record_is(redis, pod):
    with redis.client() as client:
        record = client.get("dc:{0}:value")
        with pod.client() as own:
            own.call("clear")
        client.set("dc:{0}:value", record)  # as if it had not been removed yet
        assert converged.of_redis(client, [b"value"]) == {b"value": converged.NOTHING}
    assert answers_of(pod, [b"value"]) == {b"value": converged.NOTHING}


def test_what_changes_in_redis_meanwhile_is_not_compared(redis, pod):
    with redis.client() as client:
        before = converged.of_redis(client, FEW)
        with pod.client() as own:
            own.set(b"value", b"newer", version=8)
        after = converged.of_redis(client, FEW)
    assert not list(converged.differences(before, {**before, b"value": after[b"value"]}, after))


def test_a_stale_answer_or_a_refused_one_is_none():
    assert converged.state_of_reading([STALE, 1, b"v", 3, 0, "", 5, False]) is None
    assert converged.state_of_reading([4, 5, "no proof"]) is None
    assert converged.state_of_reading([FRESH, 1, b"v", 3, 0, "", 0, False]) == ("value", 3, b"v")
    assert converged.state_of_reading([ABSENT, 1, None, 3, 0, "", 0, False]) == ("tombstone", 3, b"")


def test_a_pod_that_is_gone_has_no_answers(pod):
    pod.stop()
    assert not answers_of(pod, KEYS)
