/* What the comparison with a real Redis does not reach: replication, kills, limits, time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "daemon/redis/resp.h"
#include "tests/sim/redis/server.h"

#define MS     1000000ULL
#define SECOND 1000000000ULL

static unsigned closed, changed, passing, published;
static char last_changed[64], last_passing[64];

static void on_closed(void *ctx, struct conn *conn)
{
    (void)ctx, (void)conn;
    closed++;
}

static void on_changed(void *ctx, struct server *server, unsigned db, struct slice key, uint64_t now)
{
    (void)ctx, (void)server, (void)db, (void)now;
    changed++;
    snprintf(last_changed, sizeof(last_changed), "%.*s", (int)key.len, (const char *)key.data);
}

static void on_passing(void *ctx, struct server *server, unsigned db, struct slice key, uint64_t now)
{
    struct slice value;

    (void)ctx;
    passing++;
    if (!server_get(server, now, db, key, &value))
        value = slice_text("nothing");
    snprintf(last_passing, sizeof(last_passing), "%.*s=%.*s", (int)key.len, (const char *)key.data, (int)value.len,
             (const char *)value.data);
}

static void on_published(void *ctx, struct server *server, struct slice channel, struct slice payload,
                         uint64_t now)
{
    (void)ctx, (void)server, (void)channel, (void)payload, (void)now;
    published++;
}

static const struct server_hooks hooks = {
    .closed = on_closed, .changed = on_changed, .passing = on_passing, .published = on_published};

static struct server *start(unsigned index, uint64_t seed)
{
    struct server *server = server_new(index, seed, &hooks);

    closed = changed = passing = published = 0;
    server_start(server, 0);
    return server;
}

/* Words are separated by blanks. */
static void send_words(struct conn *conn, uint64_t now, const char *words)
{
    struct buffer bytes = BUFFER_INIT;
    unsigned count = 1;

    for (const char *p = words; *p; p++)
        count += *p == ' ';
    resp_command(&bytes, count);
    for (; count > 0; count--) {
        size_t len = strcspn(words, " ");

        resp_argument(&bytes, slice_of(words, len));
        words += len + (words[len] == ' ');
    }
    conn_feed(conn, now, slice_of(bytes.data, bytes.len));
    buffer_deinit(&bytes);
}

static void expect_output(struct conn *conn, const char *text)
{
    struct buffer *out = conn_output(conn);

    buffer_append(out, "", 1);
    assert_string_equal((const char *)out->data, text);
    buffer_clear(out);
}

static void expect(struct conn *conn, uint64_t now, const char *words, const char *answer)
{
    send_words(conn, now, words);
    expect_output(conn, answer);
}

static bool holds(struct server *server, uint64_t now, const char *key, const char *value)
{
    struct slice found;

    return server_get(server, now, 0, slice_text(key), &found) && slice_equal(found, slice_text(value));
}

/* ---- replication ----------------------------------------------------------------------------------------- */

static void effects_reach_the_replica_one_unit_at_a_time(void **state)
{
    struct server *a = start(0, 1), *b = start(1, 1);
    struct conn *c = server_connect(a, 0, NULL);

    (void)state;
    expect(c, 0, "SET before 1", "+OK\r\n");
    server_set_replica_of(b, a, 0);
    assert_true(server_lag(b) == SIZE_MAX);
    assert_int_equal(server_replicate(b, 0, 10), 1); /* the copy */
    assert_true(holds(b, 0, "before", "1"));
    expect(c, 0, "SET x 1 PX 5000", "+OK\r\n");
    expect(c, 0, "EVAL redis.call('SET','y','2')redis.call('PUBLISH','n','m')return{'a'} 0", "*1\r\n$1\r\na\r\n");
    assert_int_equal(server_lag(b), 2);
    assert_int_equal(server_replicate(b, 0, 1), 1);
    assert_true(holds(b, 0, "x", "1") && !holds(b, 0, "y", "2"));
    published = 0;
    assert_int_equal(server_replicate(b, 0, 10), 1);
    assert_true(holds(b, 0, "y", "2") && published == 1);
    assert_int_equal(server_offset(a), server_offset(b));
    assert_string_equal(server_replid(a), server_replid(b));
    assert_int_equal(server_get_expiry_ms(a, 0, slice_text("x")), server_get_expiry_ms(b, 0, slice_text("x")));
    server_free(a);
    server_free(b);
}

static void expired_keys_leave_the_replica_by_a_del_of_the_master(void **state)
{
    struct server *a = start(0, 1), *b = start(1, 1);
    struct conn *c = server_connect(a, 0, NULL);

    (void)state;
    server_set_replica_of(b, a, 0);
    server_replicate(b, 0, 1);
    expect(c, 0, "SET x 1 PX 100", "+OK\r\n");
    server_replicate(b, 0, 10);
    assert_int_equal(server_next_deadline(a, true), 101 * MS);
    server_tick(b, 200 * MS);
    assert_int_equal(server_key_count(b, 0), 1);
    assert_false(holds(b, 200 * MS, "x", "1"));
    server_tick(a, 200 * MS);
    assert_string_equal(last_changed, "x");
    assert_int_equal(server_key_count(a, 0), 0);
    assert_int_equal(server_replicate(b, 200 * MS, 10), 1);
    assert_int_equal(server_key_count(b, 0), 0);
    server_free(a);
    server_free(b);
}

static void a_promoted_replica_takes_its_master_back_without_a_copy_only_if_that_wrote_nothing_more(void **state)
{
    for (int more = 0; more < 2; more++) {
        struct server *a = start(0, 1), *b = start(1, 1);
        struct conn *c = server_connect(a, 0, NULL);

        server_set_replica_of(b, a, 0);
        server_replicate(b, 0, 1);
        expect(c, 0, "SET x 1", "+OK\r\n");
        server_replicate(b, 0, 10);
        if (more)
            expect(c, 0, "SET lost 1", "+OK\r\n");
        server_set_master(b, 0);
        assert_string_not_equal(server_replid(a), server_replid(b));
        server_set_replica_of(a, b, 0);
        expect(c, 0, "SET x 2", "-READONLY You can't write against a read only replica.\r\n");
        changed = 0;
        server_replicate(a, 0, 1);
        assert_int_equal(changed, more); /* a copy says: everything may have changed */
        assert_false(holds(a, 0, "lost", "1"));
        assert_string_equal(server_replid(a), server_replid(b));
        server_free(a);
        server_free(b);
    }
    (void)state;
}

static void wait_is_answered_by_acknowledgements_or_by_time(void **state)
{
    struct server *a = start(0, 1), *b = start(1, 1);
    struct conn *c = server_connect(a, 0, NULL);

    (void)state;
    server_set_replica_of(b, a, 0);
    server_replicate(b, 0, 1);
    server_acknowledge(b, 0);
    expect(c, 0, "SET x 1", "+OK\r\n");
    expect(c, 0, "WAIT 1 1000", "");
    expect(c, 0, "PING", ""); /* waits behind it */
    server_acknowledge(b, 10 * MS);
    expect_output(c, "");
    server_replicate(b, 20 * MS, 10);
    expect_output(c, "");
    server_acknowledge(b, 30 * MS);
    expect_output(c, ":1\r\n+PONG\r\n");
    expect(c, 40 * MS, "PUBLISH n m", ":0\r\n"); /* moves the offset, too */
    expect(c, 40 * MS, "WAIT 1 1000", "");
    assert_int_equal(server_next_deadline(a, false), 1040 * MS);
    server_tick(a, 1039 * MS);
    expect_output(c, "");
    server_tick(a, 1040 * MS);
    expect_output(c, ":0\r\n");
    server_free(a);
    server_free(b);
}

/* ---- kills ----------------------------------------------------------------------------------------------- */

/* Sets x to 0 .. 19, one each 100 ms, by scripts that set y with it; kills at 2 s; answers what x is then. */
static int survivor(enum server_persistence mode, uint64_t seed)
{
    struct server *server = start(0, seed);
    struct conn *c = server_connect(server, 0, NULL);
    struct slice x, y;
    int result = -1;
    char words[128];

    server_set_persistence(server, mode);
    for (unsigned i = 0; i < 20; i++) {
        snprintf(words, sizeof(words), "EVAL redis.call('SET','x','%u')redis.call('SET','y','%u')return{} 0", i,
                 i);
        expect(c, i * 100 * MS, words, "*0\r\n");
        if (i == 5)
            server_save(server, i * 100 * MS);
    }
    server_kill(server, 2 * SECOND);
    assert_true(closed == 1 && !conn_is_open(c) && !server_connect(server, 2 * SECOND, NULL));
    server_start(server, 2 * SECOND);
    if (server_get(server, 2 * SECOND, 0, slice_text("x"), &x)) {
        assert_true(server_get(server, 2 * SECOND, 0, slice_text("y"), &y) && slice_equal(x, y));
        snprintf(words, sizeof(words), "%.*s", (int)x.len, (const char *)x.data);
        result = atoi(words);
    }
    server_free(server);
    return result;
}

static void a_kill_leaves_what_the_persistence_promises(void **state)
{
    bool cut[21] = {false};

    (void)state;
    assert_int_equal(survivor(PERSIST_NONE, 1), -1);
    assert_int_equal(survivor(PERSIST_RDB, 1), 5);
    assert_int_equal(survivor(PERSIST_AOF_ALWAYS, 1), 19);
    for (uint64_t seed = 0; seed < 300; seed++) {
        int left = survivor(PERSIST_AOF_EVERYSEC, seed);

        assert_in_range(left, 10, 19); /* the last second at most, whole scripts */
        assert_int_equal(left, survivor(PERSIST_AOF_EVERYSEC, seed));
        cut[left] = true;
    }
    for (int i = 10; i < 20; i++)
        assert_true(cut[i]);
}

static void a_flush_that_was_not_written_is_taken_back_with_all_keys(void **state)
{
    unsigned back = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct server *server = start(0, seed);
        struct conn *c = server_connect(server, 0, NULL);

        server_set_persistence(server, PERSIST_AOF_EVERYSEC);
        expect(c, 0, "SET x 1", "+OK\r\n");
        expect(c, 0, "HSET h f 1", ":1\r\n");
        expect(c, 2 * SECOND, "HSET h f 2", ":0\r\n");
        expect(c, 2 * SECOND, "FLUSHALL", "+OK\r\n");
        expect(c, 2 * SECOND, "SET x 2", "+OK\r\n");
        server_kill(server, 2 * SECOND + 1);
        back += holds(server, 0, "x", "1");
        server_free(server);
    }
    assert_in_range(back, 5, 45);
}

/* ---- limits, pauses, hooks ------------------------------------------------------------------------------- */

static void a_subscriber_who_does_not_read_is_closed_at_the_limit(void **state)
{
    struct server *server = start(0, 1);
    struct conn *slow = server_connect(server, 0, NULL), *c = server_connect(server, 0, NULL);

    (void)state;
    server_set_pubsub_limit(server, 5 * 41);
    expect(slow, 0, "SUBSCRIBE n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nn\r\n:1\r\n");
    for (int i = 0; i < 5; i++)
        expect(c, 0, "PUBLISH n 1234567890", ":1\r\n"); /* 41 bytes each */
    assert_true(conn_is_open(slow) && conn_output(slow)->len == 5 * 41);
    expect(c, 0, "PUBLISH n 1234567890", ":1\r\n");
    assert_true(!conn_is_open(slow) && conn_output(slow)->len == 0 && closed == 1);
    expect(c, 0, "PUBLISH n 1234567890", ":0\r\n");
    server_free(server);
}

static void a_paused_server_executes_later_in_the_order_of_arrival(void **state)
{
    struct server *server = start(0, 1);
    struct conn *a = server_connect(server, 0, NULL), *b = server_connect(server, 0, NULL);

    (void)state;
    server_pause(server, 0, 50 * MS);
    expect(b, 1 * MS, "SET x b", "");
    expect(a, 2 * MS, "SET x a", "");
    assert_int_equal(server_next_deadline(server, false), 50 * MS);
    server_tick(server, 49 * MS);
    expect_output(b, "");
    server_tick(server, 50 * MS);
    expect_output(a, "+OK\r\n");
    expect_output(b, "+OK\r\n");
    assert_true(holds(server, 50 * MS, "x", "a"));
    server_free(server);
}

static void what_a_script_changes_again_is_told_before(void **state)
{
    struct server *server = start(0, 1);
    struct conn *c = server_connect(server, 0, NULL);

    (void)state;
    passing = 0;
    expect(c, 0, "EVAL redis.call('SET','x','1')redis.call('SET','y','1')return{} 0", "*0\r\n");
    expect(c, 0, "EVAL redis.call('SET','x','2')redis.call('SET','y','2')return{} 0", "*0\r\n");
    assert_int_equal(passing, 0);
    expect(c, 0, "EVAL redis.call('SET','x','3')redis.call('SET','y','3')redis.call('SET','x','4')return{} 0",
           "*0\r\n");
    assert_int_equal(passing, 1);
    assert_string_equal(last_passing, "x=3");
    server_free(server);
}

static void each_changed_key_is_told_once_for_a_script(void **state)
{
    struct server *server = start(0, 1);
    struct conn *c = server_connect(server, 0, NULL);

    (void)state;
    changed = 0;
    expect(c, 0, "EVAL for(i)=1,2(do)end 0",
           "-ERR Error compiling script (new function): user_script:1: '<name>' expected near '('\r\n");
    expect(c, 0, "EVAL redis.call('SET','x','1')redis.call('SET','x','2')redis.call('SET','y','1')return{} 0",
           "*0\r\n");
    assert_int_equal(changed, 2);
    assert_string_equal(last_changed, "y");
    expect(c, 0, "GET x", "$1\r\n2\r\n");
    assert_int_equal(changed, 2);
    server_free(server);
}

static void scripts_of_one_server_are_unknown_to_another(void **state)
{
    struct server *a = start(0, 1), *b = start(1, 1);
    struct conn *ca = server_connect(a, 0, NULL), *cb = server_connect(b, 0, NULL);

    (void)state;
    expect(ca, 0, "SCRIPT LOAD return{1}", "$40\r\n7da067d306ba2950a9b8ae9ef59deade71ff5b36\r\n");
    expect(cb, 0, "EVALSHA 7da067d306ba2950a9b8ae9ef59deade71ff5b36 0",
           "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    server_kill(a, 0);
    server_start(a, 0);
    conn_close(ca);
    ca = server_connect(a, 0, NULL);
    expect(ca, 0, "EVALSHA 7da067d306ba2950a9b8ae9ef59deade71ff5b36 0",
           "-NOSCRIPT No matching script. Please use EVAL.\r\n");
    server_free(a);
    server_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(effects_reach_the_replica_one_unit_at_a_time),
        cmocka_unit_test(expired_keys_leave_the_replica_by_a_del_of_the_master),
        cmocka_unit_test(a_promoted_replica_takes_its_master_back_without_a_copy_only_if_that_wrote_nothing_more),
        cmocka_unit_test(wait_is_answered_by_acknowledgements_or_by_time),
        cmocka_unit_test(a_kill_leaves_what_the_persistence_promises),
        cmocka_unit_test(a_flush_that_was_not_written_is_taken_back_with_all_keys),
        cmocka_unit_test(a_subscriber_who_does_not_read_is_closed_at_the_limit),
        cmocka_unit_test(a_paused_server_executes_later_in_the_order_of_arrival),
        cmocka_unit_test(each_changed_key_is_told_once_for_a_script),
        cmocka_unit_test(what_a_script_changes_again_is_told_before),
        cmocka_unit_test(scripts_of_one_server_are_unknown_to_another),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
