"""What Redis itself holds of every key against what every pod answers, when all is well and nobody writes."""
import time

from daemon import ABSENT, FRESH

PREFIX = b"dc:{0}:"
META = "dc:{0}!meta"
BATCH = 256
NOTHING = ("absent", 0, b"")
HEADER = 106  # of a record, up to the source: daemon/redis/record.h


def state_of_record(text, cleared):
    """What a pod has to answer for it: kind, version, value."""
    if not text:
        return NOTHING
    if len(text) < HEADER or text[:1] != b"1" or text[71:72] not in (b"v", b"t"):
        return ("not a record", 0, text)
    version, seq = int(text[1:20]), int(text[20:39])
    if seq <= cleared:
        return NOTHING
    if text[71:72] == b"t":
        return ("tombstone", version, b"")
    return ("value", version, text[HEADER + int(text[104:106]):])


def state_of_reading(reading):
    """The same of a pod's answer. None: it has none."""
    state, _, value, version = reading[:4] if len(reading) > 3 else (reading[0], 0, None, 0)
    if state == FRESH:
        return ("value", version, value)
    if state == ABSENT:
        return ("tombstone", version, b"") if version else NOTHING
    return None


def of_redis(client, keys):
    pipeline = client.pipeline()
    pipeline.hget(META, "cleared")
    pipeline.mget([PREFIX + key for key in keys])
    cleared, records = pipeline.execute()
    return {key: state_of_record(text, int(cleared or 0)) for key, text in zip(keys, records)}


def of_pod(connect, keys, may_wait):
    """Until it has answered for every key, or has been waited for long enough: then some are missing."""
    answers = {}
    while True:
        try:
            with connect() as client:
                _ask(client, [key for key in keys if key not in answers], answers)
        except (OSError, EOFError):
            pass
        if len(answers) == len(keys) or not may_wait():
            return answers
        time.sleep(0.01)


def _ask(client, keys, answers):
    for at in range(0, len(keys), BATCH):
        batch = keys[at:at + BATCH]
        for key, reading in zip(batch, client.call("mget", batch)):
            state = state_of_reading(reading)
            if state:
                answers[key] = state


def differences(before, answers, after, evicted=False):
    """
    Of one pod. What changed in Redis meanwhile is not compared. Where Redis has evicted, a pod may go on with what
    it has of a key that is gone: nobody is told, and the epoch goes on.
    """
    for key, state in before.items():
        answer = answers.get(key, ("no answer", 0, b""))
        if evicted and state == NOTHING and answer[0] in ("value", "tombstone"):
            continue
        if after[key] == state != answer:
            yield f"{key.decode()}: {_said(answer)}, but Redis holds {_said(state)}"


def _said(state):
    kind, version, value = state
    return f"{kind} {version} {value[:64]!r}" if kind != "absent" else kind
