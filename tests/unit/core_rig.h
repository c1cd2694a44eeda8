/* A core under test, and the hands that feed it events: what an answer of Redis looks like, up to a proven start.
 */
#ifndef DCACHED_TESTS_CORE_RIG_H
#define DCACHED_TESTS_CORE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/core/core.h"

#define MS       NS_PER_MS
#define D        (1000 * MS)
#define STORE_US UINT64_C(1700000000000000)

static const char *const epoch_a = "0123456789abcdef0123456789abcdef";
static const char *const run_a = "run-a";

/* A core and the effects of its last step. */
struct rig {
    struct core *core;
    uint64_t now;
    uint64_t seq, cleared; /* what the pretended meta says */
    struct core_effect effects[64];
    unsigned count;
};

static inline struct core_config config_default(void)
{
    struct core_config config = {
        .memory_bytes = 1 << 20,
        .entry_bytes = 100,
        .pending_bytes = 1 << 20,
        .max_waiting = 64,
        .max_in_flight = 32,
        .max_key = 100,
        .max_value = 10000,
        .bound_ns = D,
        .max_stale_ns = 30 * D,
        .may_write = true,
        .source = "pod-a",
    };
    return config;
}

static inline void rig_open(struct rig *rig, const struct core_config *config)
{
    *rig = (struct rig){.now = 1000 * D, .seq = 10};
    assert_int_equal(core_new(&rig->core, config), 0);
}

static inline void rig_close(struct rig *rig)
{
    rig->core = core_free(rig->core);
}

static inline void step(struct rig *rig, struct core_event *event)
{
    const struct core_effect *effect;

    event->now = rig->now;
    core_step(rig->core, event);
    rig->count = 0;
    while ((effect = core_next_effect(rig->core)))
        rig->effects[rig->count++] = *effect;
}

static inline const struct core_effect *find(const struct rig *rig, enum effect_type type)
{
    for (unsigned i = 0; i < rig->count; i++) {
        if (rig->effects[i].type == type)
            return &rig->effects[i];
    }
    return NULL;
}

static inline const struct core_effect *want(const struct rig *rig, enum effect_type type)
{
    const struct core_effect *effect = find(rig, type);
    assert_non_null(effect);
    return effect;
}

static inline struct meta meta_now(const struct rig *rig)
{
    struct meta meta = {.state = META_OK, .seq = rig->seq, .cleared = rig->cleared};
    strcpy(meta.epoch.text, epoch_a);
    strcpy(meta.run.text, run_a);
    return meta;
}

static inline struct run_id run_now(void)
{
    struct run_id run = {0};
    strcpy(run.text, run_a);
    return run;
}

static inline void link_up(struct rig *rig, enum core_link link)
{
    struct core_event event = {.type = EV_LINK_UP, .link_up = {.link = link, .master = true, .run = run_now()}};
    step(rig, &event);
}

static inline void link_down(struct rig *rig, enum core_link link)
{
    struct core_event event = {.type = EV_LINK_DOWN, .link_down = {.link = link}};
    step(rig, &event);
}

static inline void identity(struct rig *rig, uint64_t id)
{
    struct core_event event = {.type = EV_IDENTITY,
                               .identity = {.id = id,
                                            .master = true,
                                            .run = run_now(),
                                            .meta = meta_now(rig),
                                            .store_us = STORE_US + rig->now / NS_PER_US}};
    step(rig, &event);
}

static inline void tick(struct rig *rig)
{
    struct core_event event = {.type = EV_TICK};
    step(rig, &event);
}

static inline void pong(struct rig *rig, uint64_t nonce)
{
    struct core_event event = {.type = EV_PONG, .pong = {.nonce = nonce}};
    step(rig, &event);
}

/* From the FX_IDENTITY of the last step to the PONG. */
static inline void heartbeat_answered(struct rig *rig)
{
    identity(rig, want(rig, FX_IDENTITY)->identity.id);
    pong(rig, want(rig, FX_PING)->ping.nonce);
}

static inline void make_ready(struct rig *rig)
{
    struct core_event subscribed = {.type = EV_SUBSCRIBED};
    struct core_status status;

    link_up(rig, LINK_DATA);
    identity(rig, want(rig, FX_IDENTITY)->identity.id);
    link_up(rig, LINK_SUBSCRIPTION);
    want(rig, FX_SUBSCRIBE);
    rig->now += 300 * MS;
    step(rig, &subscribed);
    heartbeat_answered(rig);
    core_get_status(rig->core, rig->now, &status);
    assert_true(status.ready);
}

static inline void heartbeat(struct rig *rig)
{
    rig->now = core_next_deadline(rig->core);
    tick(rig);
    heartbeat_answered(rig);
}

static inline void get_with(struct rig *rig, const char *key, struct read_request read)
{
    struct core_event event = {.type = EV_READ, .read = read};
    event.read.token = 7;
    event.read.key = slice_text(key);
    if (event.read.deadline == 0)
        event.read.deadline = rig->now + 500 * MS;
    step(rig, &event);
}

static inline void get(struct rig *rig, const char *key)
{
    get_with(rig, key, (struct read_request){0});
}

static inline struct record record_of(uint64_t seq, uint64_t version, const char *value)
{
    return (struct record){.kind = value ? RECORD_VALUE : RECORD_TOMBSTONE,
                           .version = version,
                           .seq = seq,
                           .source = slice_text("pod-b"),
                           .value = value ? slice_text(value) : slice_of(NULL, 0)};
}

static inline void fetched(struct rig *rig, uint64_t id, enum fetch_result result, struct record record)
{
    struct core_event event = {
        .type = EV_FETCHED,
        .fetched = {
            .id = id, .meta = meta_now(rig), .closing = meta_now(rig), .result = result, .record = record}};
    step(rig, &event);
}

static inline void message(struct rig *rig, const char *key, struct record record)
{
    struct core_event event = {.type = EV_MESSAGE, .message = {.key = slice_text(key), .record = record}};
    strcpy(event.message.epoch.text, epoch_a);
    if (record.seq > rig->seq)
        rig->seq = record.seq;
    step(rig, &event);
}

static inline void set_with(struct rig *rig, const char *key, const char *value, struct write_request write)
{
    struct core_event event = {.type = EV_WRITE, .write = write};
    event.write.token = 9;
    event.write.key = slice_text(key);
    event.write.value = slice_text(value);
    event.write.deadline = rig->now + 500 * MS;
    step(rig, &event);
}

static inline void written(struct rig *rig, uint64_t id, enum script_result result, uint64_t version, uint64_t seq)
{
    struct core_event event = {.type = EV_WRITTEN,
                               .written = {.id = id, .result = result, .version = version, .seq = seq}};
    step(rig, &event);
}

static inline void assert_read(const struct rig *rig, enum read_outcome outcome, const char *value,
                               uint64_t version)
{
    const struct core_effect *done = want(rig, FX_READ_DONE);
    assert_int_equal(done->read_done.outcome, outcome);
    if (value)
        assert_true(slice_equal(done->read_done.value, slice_text(value)));
    assert_int_equal(done->read_done.version, version);
}

static inline void assert_refused(const struct rig *rig, enum core_reason reason)
{
    const struct core_effect *done = want(rig, FX_READ_DONE);
    assert_int_equal(done->read_done.outcome, READ_REFUSED);
    assert_int_equal(done->read_done.reason, reason);
}

static inline void assert_truth(const struct rig *rig)
{
    struct core_counters c;
    core_get_counters(rig->core, &c);
    assert_int_equal(c.reads, c.hits + c.misses + c.refused + c.errors);
}

#endif
