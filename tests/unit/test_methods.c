/* What one side packs, the other side decodes to the same. */
#include "tests/unit/frame.h"

#include "proto/methods.h"

#define EPOCH "0123456789abcdef0123456789abcdef"

/* ---- reads ---------------------------------------------------------------------------------------------- */

static const struct proto_read_options all_read_options = {
    .strong = true,
    .min_version = PROTO_VERSION_MAX,
    .epoch = {(const uint8_t *)EPOCH, 32},
    .max_stale_ms = 30000,
    .timeout_ms = PROTO_MS_MAX,
};

static void assert_all_read_options(const struct proto_read_options *options)
{
    assert_true(options->strong);
    assert_true(options->min_version == PROTO_VERSION_MAX);
    assert_true(slice_equal(options->epoch, slice_text(EPOCH)));
    assert_int_equal(options->max_stale_ms, 30000);
    assert_true(options->timeout_ms == PROTO_MS_MAX);
}

static void get_goes_round(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct proto_read_options options;
    struct rpc_frame frame;
    struct slice key, bytes;

    (void)state;
    proto_pack_get(&b, 1, slice_of("a\0\n\xff", 4), NULL);
    bytes = frame_take(&b, &frame);
    assert_int_equal(proto_method_find(frame.method), METHOD_get);
    assert_null(proto_decode_get(frame.params, &key, &options));
    assert_true(slice_equal(key, slice_of("a\0\n\xff", 4)));
    assert_false(options.strong);
    assert_int_equal(options.min_version, 0);
    exact_free(bytes);

    buffer_clear(&b);
    proto_pack_get(&b, 2, slice_text("k"), &all_read_options);
    bytes = frame_take(&b, &frame);
    assert_null(proto_decode_get(frame.params, &key, &options));
    assert_all_read_options(&options);
    exact_free(bytes);
    buffer_deinit(&b);
}

static void mget_goes_round(void **state)
{
    static struct slice keys[PROTO_MGET_MAX + 1], got[PROTO_MGET_MAX];
    struct buffer b = BUFFER_INIT;
    struct proto_read_options options;
    struct rpc_frame frame;
    struct slice bytes;
    uint32_t count;

    (void)state;
    for (unsigned i = 0; i <= PROTO_MGET_MAX; i++)
        keys[i] = slice_of(&"0123456789"[i % 10], 1);
    for (uint32_t n = 0; n <= PROTO_MGET_MAX; n += 512) {
        buffer_clear(&b);
        proto_pack_mget(&b, 1, keys, n, n == 512 ? &all_read_options : NULL);
        bytes = frame_take(&b, &frame);
        assert_int_equal(proto_method_find(frame.method), METHOD_mget);
        assert_null(proto_decode_mget(frame.params, got, &count, &options));
        assert_int_equal(count, n);
        for (uint32_t i = 0; i < n; i++)
            assert_true(slice_equal(got[i], keys[i]));
        if (n == 512)
            assert_all_read_options(&options);
        exact_free(bytes);
    }
    buffer_clear(&b);
    proto_pack_mget(&b, 1, keys, PROTO_MGET_MAX + 1, NULL);
    bytes = frame_take(&b, &frame);
    assert_string_equal(proto_decode_mget(frame.params, got, &count, &options), "keys: at most 1024 in one call");
    assert_int_equal(count, 0);
    exact_free(bytes);
    buffer_deinit(&b);
}

static void assert_reading_goes_round(const struct proto_reading *reading)
{
    struct buffer b = BUFFER_INIT;
    struct proto_reading got;
    struct rpc_frame frame;
    struct slice bytes;

    rpc_pack_response(&b, 1);
    proto_pack_reading(&b, reading);
    bytes = frame_take(&b, &frame);
    assert_null(proto_decode_reading(&frame.result, &got));
    assert_true(cursor_at_end(&frame.result));
    assert_int_equal(got.state, reading->state);
    assert_true(slice_equal(got.text, reading->text));
    assert_int_equal(got.code, reading->code);
    assert_true(got.as_of_ns == reading->as_of_ns);
    assert_true(slice_equal(got.value, reading->value));
    assert_true(got.version == reading->version);
    assert_true(got.timestamp_ns == reading->timestamp_ns);
    assert_true(slice_equal(got.source, reading->source));
    assert_true(got.age_ms == reading->age_ms);
    assert_int_equal(got.replaced, reading->replaced);
    exact_free(bytes);
    buffer_deinit(&b);
}

static void readings_of_every_state_and_size_go_round(void **state)
{
    static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536, 1 << 20};
    static const uint64_t numbers[] = {0,        127, 128, 255, 256, 65535, 65536, UINT32_MAX, UINT64_C(1) << 32,
                                       INT64_MAX};
    uint8_t *value = calloc(1, 1 << 20);

    (void)state;
    assert_non_null(value);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct proto_reading reading = {.state = STATE_FRESH,
                                        .value = slice_of(value, sizes[i]),
                                        .source = slice_of(value, sizes[i] < 300 ? sizes[i] : 63),
                                        .version = 1};

        assert_reading_goes_round(&reading);
    }
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct proto_reading reading = {.state = i % 2 ? STATE_STALE : STATE_LOCAL,
                                        .as_of_ns = numbers[i],
                                        .version = numbers[i],
                                        .timestamp_ns = numbers[i],
                                        .age_ms = numbers[i],
                                        .replaced = true};

        assert_reading_goes_round(&reading);
    }
    free(value);
    assert_reading_goes_round(&(struct proto_reading){.state = STATE_ABSENT, .as_of_ns = 5, .version = 9});
    assert_reading_goes_round(
        &(struct proto_reading){.state = STATE_FAILED, .code = RPC_REFUSED, .text = slice_text("no")});
}

static void packed_reading_is_what_msgpack_c_packs(void **state)
{
    struct buffer b = BUFFER_INIT, expected = BUFFER_INIT;
    struct proto_reading reading = {.state = STATE_FRESH,
                                    .as_of_ns = 1234567890123,
                                    .value = slice_text("hello"),
                                    .version = 300,
                                    .timestamp_ns = 1700000000000000000,
                                    .source = slice_text("pod")};

    (void)state;
    rpc_pack_response(&b, 70000);
    proto_pack_reading(&b, &reading);
    pack_array(&expected, 4);
    pack_uint(&expected, 1);
    pack_uint(&expected, 70000);
    pack_nil(&expected);
    pack_array(&expected, 8);
    pack_uint(&expected, STATE_FRESH);
    pack_uint(&expected, reading.as_of_ns);
    pack_bin(&expected, reading.value);
    pack_uint(&expected, reading.version);
    pack_uint(&expected, reading.timestamp_ns);
    pack_str(&expected, reading.source);
    pack_uint(&expected, 0);
    pack_bool(&expected, false);
    assert_int_equal(b.len, expected.len);
    assert_memory_equal(b.data, expected.data, b.len);
    buffer_deinit(&b);
    buffer_deinit(&expected);
}

static void trailing_elements_of_results_are_skipped(void **state)
{
    struct slice bytes = exact_hex("99 01 05 c4 01 61 01 00 a1 70 00 c2 81 a1 78 01  94 04 05 a1 74 c0"
                                   "95 00 01 02 a0 c3  94 05 05 a1 74 c0");
    struct cursor c = cursor_of(bytes);
    struct proto_reading reading;
    struct proto_written written;

    (void)state;
    assert_null(proto_decode_reading(&c, &reading));
    assert_int_equal(reading.as_of_ns, 5);
    assert_null(proto_decode_reading(&c, &reading));
    assert_int_equal(reading.code, RPC_REFUSED);
    assert_null(proto_decode_written(&c, &written));
    assert_int_equal(written.seq, 2);
    assert_null(proto_decode_written(&c, &written));
    assert_int_equal(written.code, RPC_REFUSED);
    assert_true(cursor_at_end(&c));
    exact_free(bytes);
}

static void results_with_a_wrong_field_are_refused(void **state)
{
    static const char *const readings[] = {"",
                                           "90",
                                           "c0",
                                           "97 01 05 c4 00 01 00 a0 00",
                                           "98 06 05 c4 00 01 00 a0 00 c2",
                                           "98 01 ff c4 00 01 00 a0 00 c2",
                                           "98 01 05 c0 01 00 a0 00 c2",
                                           "98 00 05 c4 00 01 00 a0 00 c2",
                                           "98 01 05 c4 00 ff 00 a0 00 c2",
                                           "98 01 05 c4 00 cf 80 00 00 00 00 00 00 00 00 a0 00 c2",
                                           "98 01 05 c4 00 01 00 a0 00 00",
                                           "98 01 05 c4 00 01 00 05 00 c2",
                                           "92 04 05",
                                           "93 04 00 a0",
                                           "93 04 05 05"};
    static const char *const writtens[] = {"",
                                           "90",
                                           "93 00 01 02",
                                           "94 06 01 02 a0",
                                           "94 00 ff 02 a0",
                                           "94 00 cf 80 00 00 00 00 00 00 00 02 a0",
                                           "94 00 01 a0 a0",
                                           "94 00 01 02 05",
                                           "93 05 00 a0",
                                           "94 c3 01 02 a0"};

    (void)state;
    for (size_t i = 0; i < sizeof(readings) / sizeof(readings[0]); i++) {
        struct slice bytes = exact_hex(readings[i]);
        struct cursor c = cursor_of(bytes);
        struct proto_reading reading;

        assert_non_null(proto_decode_reading(&c, &reading));
        exact_free(bytes);
    }
    for (size_t i = 0; i < sizeof(writtens) / sizeof(writtens[0]); i++) {
        struct slice bytes = exact_hex(writtens[i]);
        struct cursor c = cursor_of(bytes);
        struct proto_written written;

        assert_non_null(proto_decode_written(&c, &written));
        exact_free(bytes);
    }
}

/* ---- writes --------------------------------------------------------------------------------------------- */

static const struct proto_write plain_write = {.key = {(const uint8_t *)"k", 1},
                                               .value = {(const uint8_t *)"v", 1}};
static const struct proto_write full_write = {
    .key = {(const uint8_t *)"key", 3},
    .value = {(const uint8_t *)"value", 5},
    .version = PROTO_VERSION_MAX,
    .has_ttl = true,
    .has_invalidate = true,
    .write_id = {(const uint8_t *)EPOCH, PROTO_WRITE_ID_BYTES},
    .retry = true,
    .timeout_ms = 250,
};

static void assert_write_equal(const struct proto_write *got, const struct proto_write *expected, bool value,
                               bool timeout)
{
    assert_true(slice_equal(got->key, expected->key));
    assert_true(slice_equal(got->value, value ? expected->value : slice_of(NULL, 0)));
    assert_true(got->version == expected->version);
    assert_int_equal(got->has_ttl, expected->has_ttl);
    assert_true(got->ttl_ms == expected->ttl_ms);
    assert_int_equal(got->has_invalidate, expected->has_invalidate);
    assert_int_equal(got->invalidate, expected->invalidate);
    assert_true(slice_equal(got->write_id, expected->write_id));
    assert_int_equal(got->retry, expected->retry);
    assert_int_equal(got->timeout_ms, timeout ? expected->timeout_ms : 0);
}

static void set_and_delete_go_round(void **state)
{
    static const struct proto_write *const writes[] = {&plain_write, &full_write};
    struct buffer b = BUFFER_INIT;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const struct proto_write *write = writes[i / 2];
        struct proto_write got;
        struct rpc_frame frame;
        struct slice bytes;

        buffer_clear(&b);
        if (i % 2)
            proto_pack_set(&b, 9, write);
        else
            proto_pack_delete(&b, 9, write);
        bytes = frame_take(&b, &frame);
        assert_int_equal(proto_method_find(frame.method), i % 2 ? METHOD_set : METHOD_delete);
        assert_null(i % 2 ? proto_decode_set(frame.params, &got) : proto_decode_delete(frame.params, &got));
        assert_write_equal(&got, write, i % 2, true);
        exact_free(bytes);
    }
    buffer_deinit(&b);
}

static void mset_goes_round(void **state)
{
    static struct proto_write writes[PROTO_MGET_MAX + 1], got[PROTO_MGET_MAX];
    struct buffer b = BUFFER_INIT;
    struct rpc_frame frame;
    struct slice bytes;
    uint64_t timeout_ms;
    uint32_t count;

    (void)state;
    for (unsigned i = 0; i <= PROTO_MGET_MAX; i++)
        writes[i] = i % 2 ? plain_write : full_write;
    for (uint32_t n = 0; n <= PROTO_MGET_MAX; n += 512) {
        buffer_clear(&b);
        proto_pack_mset(&b, 1, writes, n, n);
        bytes = frame_take(&b, &frame);
        assert_int_equal(proto_method_find(frame.method), METHOD_mset);
        assert_null(proto_decode_mset(frame.params, got, &count, &timeout_ms));
        assert_int_equal(count, n);
        assert_int_equal(timeout_ms, n);
        for (uint32_t i = 0; i < n; i++)
            assert_write_equal(&got[i], &writes[i], true, false);
        exact_free(bytes);
    }
    buffer_clear(&b);
    proto_pack_mset(&b, 1, writes, PROTO_MGET_MAX + 1, 0);
    bytes = frame_take(&b, &frame);
    assert_string_equal(proto_decode_mset(frame.params, got, &count, &timeout_ms),
                        "items: at most 1024 in one call");
    exact_free(bytes);
    buffer_deinit(&b);
}

static void outcomes_go_round(void **state)
{
    struct buffer b = BUFFER_INIT;

    (void)state;
    for (unsigned outcome = OUTCOME_ACCEPTED; outcome <= OUTCOME_FAILED; outcome++) {
        bool failed = outcome == OUTCOME_FAILED;
        struct proto_written written = {.outcome = (enum proto_outcome)outcome}, got;
        struct rpc_frame frame;
        struct slice bytes;

        written.version = failed ? 0 : PROTO_VERSION_MAX;
        written.seq = failed ? 0 : 17;
        written.epoch = failed ? slice_of(NULL, 0) : slice_text(EPOCH);
        written.code = failed ? RPC_STORE : RPC_OK;
        written.text = failed ? slice_text("OOM") : slice_of(NULL, 0);
        buffer_clear(&b);
        rpc_pack_response(&b, 1);
        proto_pack_written(&b, &written);
        bytes = frame_take(&b, &frame);
        assert_null(proto_decode_written(&frame.result, &got));
        assert_int_equal(got.outcome, outcome);
        assert_true(got.version == written.version && got.seq == written.seq && got.code == written.code);
        assert_true(slice_equal(got.epoch, written.epoch));
        assert_true(slice_equal(got.text, written.text));
        exact_free(bytes);
    }
    buffer_deinit(&b);
}

/* ---- the others ----------------------------------------------------------------------------------------- */

static void hello_goes_round(void **state)
{
    struct buffer b = BUFFER_INIT;
    struct proto_hello hello = {.server = slice_text("dcached 0.1.0"),
                                .protocol = PROTO_VERSION,
                                .pod = slice_text("pod-a"),
                                .role = slice_text("writer"),
                                .bound_ns = 1000000000,
                                .max_stale_ns = 30000000000,
                                .clock_ns = UINT64_MAX,
                                .epoch = slice_text(EPOCH),
                                .max_message = 1 << 21,
                                .max_key = 1024,
                                .max_value = 1 << 20,
                                .max_in_flight = PROTO_IN_FLIGHT_MAX};
    struct proto_hello got;
    struct rpc_frame frame;
    struct slice client, bytes;
    uint64_t protocol;

    (void)state;
    proto_pack_hello(&b, 1, "tool");
    bytes = frame_take(&b, &frame);
    assert_int_equal(proto_method_find(frame.method), METHOD_hello);
    assert_null(proto_decode_hello_params(frame.params, &client, &protocol));
    assert_true(slice_equal(client, slice_text("tool")));
    assert_int_equal(protocol, PROTO_VERSION);
    exact_free(bytes);

    buffer_clear(&b);
    rpc_pack_response(&b, 1);
    proto_pack_hello_result(&b, &hello);
    bytes = frame_take(&b, &frame);
    assert_null(proto_decode_hello_result(frame.result, &got));
    assert_true(slice_equal(got.server, hello.server) && slice_equal(got.pod, hello.pod));
    assert_true(slice_equal(got.role, hello.role) && slice_equal(got.epoch, hello.epoch));
    assert_true(got.bound_ns == hello.bound_ns && got.max_stale_ns == hello.max_stale_ns);
    assert_true(got.clock_ns == hello.clock_ns && got.protocol == hello.protocol);
    assert_true(got.max_message == hello.max_message && got.max_key == hello.max_key);
    assert_true(got.max_value == hello.max_value && got.max_in_flight == hello.max_in_flight);
    exact_free(bytes);
    buffer_deinit(&b);
}

static void hello_without_a_key_is_refused_and_names_it(void **state)
{
    struct slice missing = exact_hex("80"), wrong = exact_hex("81 a8 62 6f 75 6e 64 5f 6e 73 a1 31");
    struct slice array = exact_hex("90");
    struct proto_hello hello;

    (void)state;
    assert_string_equal(proto_decode_hello_result(cursor_of(missing), &hello), "hello: server is missing");
    assert_string_equal(proto_decode_hello_result(cursor_of(wrong), &hello),
                        "hello: bound_ns is of the wrong type");
    assert_string_equal(proto_decode_hello_result(cursor_of(array), &hello), "hello: map expected");
    exact_free(missing);
    exact_free(wrong);
    exact_free(array);
}

static void optional_positions_have_defaults(void **state)
{
    struct slice none = exact_hex("90"), versions = exact_hex("93 a1 70 05 64"), verify = exact_hex("92 05 0a");
    struct slice prefix;
    uint64_t cursor, timeout_ms;
    uint32_t limit;

    (void)state;
    assert_null(proto_decode_versions(cursor_of(none), &prefix, &cursor, &limit));
    assert_int_equal(prefix.len, 0);
    assert_int_equal(cursor, 0);
    assert_int_equal(limit, PROTO_VERSIONS_MAX);
    assert_null(proto_decode_versions(cursor_of(versions), &prefix, &cursor, &limit));
    assert_true(slice_equal(prefix, slice_text("p")));
    assert_int_equal(cursor, 5);
    assert_int_equal(limit, 100);
    assert_null(proto_decode_verify(cursor_of(verify), &cursor, &limit, &timeout_ms));
    assert_int_equal(limit, 10);
    assert_int_equal(timeout_ms, 0);
    exact_free(none);
    exact_free(versions);
    exact_free(verify);
}

static void every_method_is_found_by_its_name(void **state)
{
    (void)state;
#define X(name, class)                                                     \
    assert_int_equal(proto_method_find(slice_text(#name)), METHOD_##name); \
    assert_string_equal(proto_method_name(METHOD_##name), #name);          \
    assert_string_equal(proto_class_name(proto_method_class(METHOD_##name)), #class);
    PROTO_METHODS(X)
#undef X
    assert_int_equal(proto_method_find(slice_text("")), METHOD_COUNT);
    assert_int_equal(proto_method_find(slice_text("ge")), METHOD_COUNT);
    assert_int_equal(proto_method_find(slice_text("get2")), METHOD_COUNT);
    assert_int_equal(proto_method_find(slice_text("GET")), METHOD_COUNT);
    assert_string_equal(proto_method_name(METHOD_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_goes_round),
        cmocka_unit_test(mget_goes_round),
        cmocka_unit_test(readings_of_every_state_and_size_go_round),
        cmocka_unit_test(packed_reading_is_what_msgpack_c_packs),
        cmocka_unit_test(trailing_elements_of_results_are_skipped),
        cmocka_unit_test(results_with_a_wrong_field_are_refused),
        cmocka_unit_test(set_and_delete_go_round),
        cmocka_unit_test(mset_goes_round),
        cmocka_unit_test(outcomes_go_round),
        cmocka_unit_test(hello_goes_round),
        cmocka_unit_test(hello_without_a_key_is_refused_and_names_it),
        cmocka_unit_test(optional_positions_have_defaults),
        cmocka_unit_test(every_method_is_found_by_its_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
