#include "tests/interleavings/harness.h"

void harness_open_small(struct rig *rig, size_t max_floors)
{
    struct core_config config = config_default();

    config.max_floors = max_floors;
    rig_open(rig, &config);
    make_ready(rig);
}

void harness_open(struct rig *rig)
{
    harness_open_small(rig, 0);
}

void harness_close(struct rig *rig)
{
    assert_truth(rig);
    rig_close(rig);
}

uint64_t harness_ask(struct rig *rig)
{
    rig->now = core_next_deadline(rig->core);
    tick(rig);
    return want(rig, FX_IDENTITY)->identity.id;
}

uint64_t harness_identified(struct rig *rig, uint64_t id)
{
    rig->now += MS;
    identity(rig, id);
    return want(rig, FX_PING)->ping.nonce;
}

void harness_identified_as(struct rig *rig, uint64_t id, const char *epoch, uint64_t seq)
{
    struct core_event event = {.type = EV_IDENTITY, .identity = {.id = id, .master = true, .run = run_now()}};

    event.identity.meta = meta_now(rig);
    snprintf(event.identity.meta.epoch.text, sizeof(event.identity.meta.epoch.text), "%s", epoch);
    event.identity.meta.seq = seq;
    event.identity.store_us = STORE_US + rig->now / NS_PER_US;
    step(rig, &event);
}

uint64_t harness_fetch(struct rig *rig, const char *key)
{
    get(rig, key);
    assert_null(find(rig, FX_READ_DONE));
    return want(rig, FX_FETCH)->fetch.id;
}

uint64_t harness_no_hit(struct rig *rig, const char *key)
{
    return harness_fetch(rig, key);
}

uint64_t harness_set(struct rig *rig, const char *key, const char *value, uint64_t version)
{
    set_with(rig, key, value, (struct write_request){.version = version, .carry_value = true});
    return want(rig, FX_WRITE)->write.id;
}

void harness_hit(struct rig *rig, const char *key, const char *value, uint64_t version)
{
    get(rig, key);
    assert_null(find(rig, FX_FETCH));
    assert_read(rig, READ_FRESH, value, version);
}

void harness_invalidate(struct rig *rig, const char *key, uint64_t seq, uint64_t version)
{
    struct record bare = {.kind = RECORD_BARE, .seq = seq, .version = version, .source = slice_text("pod-b")};

    message(rig, key, bare);
}

void harness_message_of(struct rig *rig, const char *epoch, const char *key, struct record record)
{
    struct core_event event = {.type = EV_MESSAGE, .message = {.key = slice_text(key), .record = record}};

    snprintf(event.message.epoch.text, sizeof(event.message.epoch.text), "%s", epoch);
    step(rig, &event);
}

void harness_cleared(struct rig *rig, const char *new_epoch)
{
    struct core_event event = {.type = EV_MESSAGE,
                               .message = {.kind = MESSAGE_CLEAR, .record = {.seq = rig->seq}}};

    snprintf(event.message.epoch.text, sizeof(event.message.epoch.text), "%s", new_epoch);
    step(rig, &event);
}

uint64_t harness_as_of(const struct rig *rig)
{
    struct core_status status;

    core_get_status(rig->core, rig->now, &status);
    return status.as_of;
}

struct core_counters harness_counters(const struct rig *rig)
{
    struct core_counters counters;

    core_get_counters(rig->core, &counters);
    return counters;
}
