/* Looking in, and when the next heartbeat is due. The order of things is tested in tests/interleavings. */
#include "tests/unit/core_rig.h"

/* ---- looking in
 * ------------------------------------------------------------------------------------------------- */

struct seen {
    unsigned cached, floors;
};

static void see(void *ctx, struct slice key, const struct core_view *view)
{
    struct seen *seen = ctx;
    (void)key;
    if (view->cached)
        seen->cached++;
    else
        seen->floors++;
}

static void versions_walks_entries_then_bare_floors(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    struct seen seen = {0};
    uint64_t cursor = 0;
    char key[16];
    rig_open(&rig, &config);
    make_ready(&rig);
    for (unsigned i = 0; i < 50; i++) {
        struct record record = record_of(11 + i, 1, "value");
        if (i % 5 == 0)
            record.kind = RECORD_BARE;
        snprintf(key, sizeof(key), "key-%u", i);
        message(&rig, key, record);
    }
    do {
        core_versions(rig.core, rig.now, slice_text("key-"), &cursor, 10, see, &seen);
    } while (cursor != 0);
    assert_int_equal(seen.cached, 40);
    assert_int_equal(seen.floors, 10);
    cursor = 0;
    core_versions(rig.core, rig.now, slice_text("none"), &cursor, 1000, see, &seen);
    assert_int_equal(cursor, 0);
    assert_int_equal(seen.cached, 40);
    rig_close(&rig);
}

static void inspect_says_why_without_a_link(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    message(&rig, "k", record_of(11, 1, "one"));
    link_down(&rig, LINK_DATA);
    rig.now += 2 * D;
    struct core_event event = {.type = EV_INSPECT, .inspect = {.token = 1, .key = slice_text("k")}};
    event.inspect.deadline = rig.now + D;
    step(&rig, &event);
    const struct core_effect *done = want(&rig, FX_INSPECT_DONE);
    assert_int_equal(done->inspect_done.status, REPLY_NOT_SENT);
    assert_int_equal(done->inspect_done.reason, REASON_NO_LINK);
    assert_true(done->inspect_done.view.cached);
    assert_int_equal(done->inspect_done.view.cached_version, 1);
    assert_int_equal(done->inspect_done.view.floor_version, 1);
    assert_int_equal(done->inspect_done.view.verdict, READ_REFUSED);
    rig_close(&rig);
}

static void a_heartbeat_is_due_every_quarter_of_the_bound(void **state)
{
    (void)state;
    struct core_config config = config_default();
    struct rig rig;
    rig_open(&rig, &config);
    make_ready(&rig);
    uint64_t start = rig.now;
    heartbeat(&rig);
    assert_int_equal(rig.now - start, D / 4);
    heartbeat(&rig);
    assert_int_equal(rig.now - start, D / 2);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_walks_entries_then_bare_floors),
        cmocka_unit_test(inspect_says_why_without_a_link),
        cmocka_unit_test(a_heartbeat_is_due_every_quarter_of_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
