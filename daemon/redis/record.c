#include "daemon/redis/record.h"

#include <inttypes.h>
#include <stdio.h>

/* Takes `len` bytes off the front; false if there are not that many. */
static bool take(struct slice *text, size_t len, struct slice *ret)
{
    if (text->len < len)
        return false;
    *ret = slice_of(text->data, len);
    *text = slice_of(text->data + len, text->len - len);
    return true;
}

bool take_number(struct slice *text, size_t digits, uint64_t *ret)
{
    struct slice part;
    uint64_t number = 0;

    if (!take(text, digits, &part))
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (part.data[i] < '0' || part.data[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(part.data[i] - '0'); /* 19 digits are below 2^64 */
    }
    *ret = number;
    return true;
}

static bool take_order(struct slice *text, uint64_t max, uint64_t *ret)
{
    return take_number(text, 19, ret) && *ret >= 1 && *ret <= max;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool take_hex(struct slice *text, uint8_t *ret, size_t bytes)
{
    struct slice part;

    if (!take(text, 2 * bytes, &part))
        return false;
    for (size_t i = 0; i < bytes; i++) {
        int high = hex_digit(part.data[2 * i]), low = hex_digit(part.data[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        ret[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool take_epoch(struct slice *text, struct epoch *ret)
{
    uint8_t bytes[16];
    struct slice part = *text;

    if (!take_hex(text, bytes, sizeof(bytes)))
        return false;
    memcpy(ret->text, part.data, 32);
    ret->text[32] = '\0';
    return true;
}

/* Header and source; the rest stays in *text. */
static const char *take_head(struct slice *text, struct record *ret)
{
    struct slice part;
    uint64_t source_len;

    memset(ret, 0, sizeof(*ret));
    if (!take(text, 1, &part))
        return "record: empty";
    if (part.data[0] != '1')
        return "record: unknown format";
    if (!take_order(text, VERSION_MAX, &ret->version))
        return "record: version is no number in 1 .. 2^63-1";
    if (!take_order(text, SEQ_MAX, &ret->seq))
        return "record: seq is no number in 1 .. 4*10^18-1";
    if (!take_number(text, 19, &ret->timestamp_ns))
        return "record: timestamp is no number";
    if (!take_number(text, 13, &ret->expiry_ms))
        return "record: expiry is no number";
    if (!take(text, 1, &part))
        return "record: cut before the flag";
    switch (part.data[0]) {
    case 'v':
        ret->kind = RECORD_VALUE;
        break;
    case 't':
        ret->kind = RECORD_TOMBSTONE;
        break;
    case 'b':
        ret->kind = RECORD_BARE;
        break;
    default:
        return "record: unknown flag";
    }
    if (!take_hex(text, ret->write_id, WRITE_ID_BYTES))
        return "record: write id is not hexadecimal";
    if (!take_number(text, 2, &source_len) || source_len > SOURCE_MAX)
        return "record: length of the source is no number in 0 .. 63";
    if (!take(text, (size_t)source_len, &ret->source))
        return "record: cut in the source";
    return NULL;
}

static const char *decode_any(struct slice text, struct record *ret)
{
    const char *error = take_head(&text, ret);

    if (error)
        return error;
    if (ret->kind != RECORD_VALUE && text.len > 0)
        return "record: a tombstone or bare record with a value";
    ret->value = text;
    return NULL;
}

const char *record_decode(struct slice text, struct record *ret_record)
{
    const char *error = decode_any(text, ret_record);

    if (!error && ret_record->kind == RECORD_BARE)
        return "record: bare outside a message";
    return error;
}

const char *record_decode_head(struct slice text, struct record *ret_record)
{
    const char *error = take_head(&text, ret_record);

    if (!error && ret_record->kind == RECORD_BARE)
        return "record: bare outside a message";
    return error;
}

const char *message_decode(struct slice text, struct message *ret)
{
    struct slice part;
    uint64_t key_len;

    memset(ret, 0, sizeof(*ret));
    if (!take(&text, 2, &part) || memcmp(part.data, "M1", 2) != 0)
        return "message: unknown format";
    if (!take(&text, 1, &part))
        return "message: cut before the kind";
    if (part.data[0] != 'r' && part.data[0] != 'c')
        return "message: unknown kind";
    ret->kind = part.data[0] == 'r' ? MESSAGE_RECORD : MESSAGE_CLEAR;
    if (!take_epoch(&text, &ret->epoch))
        return "message: epoch is not hexadecimal";
    if (!take_number(&text, 13, &ret->ttl_ms))
        return "message: ttl is no number";
    if (!take_number(&text, 5, &key_len))
        return "message: length of the key is no number";
    if (!take(&text, (size_t)key_len, &ret->key))
        return "message: cut in the key";
    if (ret->kind == MESSAGE_RECORD)
        return decode_any(text, &ret->record);
    if (!take_number(&text, 19, &ret->record.seq) || ret->record.seq > SEQ_MAX)
        return "message: seq of a clear is no number in 0 .. 4*10^18-1";
    if (text.len > 0 || ret->key.len > 0)
        return "message: a clear with more than its seq";
    return NULL;
}

/* Decimal without leading zeros, 0 .. SEQ_MAX. */
static bool decode_canonical(struct slice text, uint64_t *ret)
{
    bool leading_zero = text.len > 1 && text.data[0] == '0';

    if (text.len < 1 || text.len > 19 || leading_zero)
        return false;
    return take_number(&text, text.len, ret) && *ret <= SEQ_MAX;
}

bool run_id_decode(struct slice text, struct run_id *ret_run)
{
    memset(ret_run, 0, sizeof(*ret_run));
    if (text.len < 1 || text.len > sizeof(ret_run->text) - 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')))
            return false;
    }
    memcpy(ret_run->text, text.data, text.len);
    return true;
}

void meta_decode(const struct slice fields[4], struct meta *ret_meta)
{
    struct slice epoch = fields[0];
    uint64_t seq = 0, cleared = 0;
    bool missing = false, found = false, good = true, has_seq, has_cleared;

    memset(ret_meta, 0, sizeof(*ret_meta));
    for (int i = 0; i < 4; i++) {
        missing = missing || !fields[i].data;
        found = found || fields[i].data;
    }
    if (epoch.data)
        good = epoch.len == 32 && take_epoch(&epoch, &ret_meta->epoch);
    if (fields[1].data)
        good = run_id_decode(fields[1], &ret_meta->run) && good;
    has_seq = fields[2].data && decode_canonical(fields[2], &seq);
    /* Above seq every record would count as cleared, those written from now on too. */
    has_cleared = fields[3].data && decode_canonical(fields[3], &cleared) && !(has_seq && cleared > seq);
    good = good && has_seq && has_cleared;
    ret_meta->state = missing ? META_MISSING : good ? META_OK : META_INVALID;
    if (ret_meta->state == META_OK)
        ret_meta->seq = seq;
    /* Whatever else is wrong: what was cleared stays cleared. */
    if (has_cleared)
        ret_meta->cleared = cleared;
    ret_meta->cleared_unknown = found && !has_cleared;
}

void hex_encode(const uint8_t *bytes, size_t len, char *ret)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        ret[2 * i] = digits[bytes[i] >> 4];
        ret[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret[2 * len] = '\0';
}

void record_encode(const struct record *record, struct buffer *buffer)
{
    static const char flags[] = {[RECORD_VALUE] = 'v', [RECORD_TOMBSTONE] = 't', [RECORD_BARE] = 'b'};
    char id[2 * WRITE_ID_BYTES + 1], head[160];
    int len;

    hex_encode(record->write_id, WRITE_ID_BYTES, id);
    len = snprintf(head, sizeof(head), "1%019" PRIu64 "%019" PRIu64 "%019" PRIu64 "%013" PRIu64 "%c%s%02zu",
                   record->version, record->seq, record->timestamp_ns, record->expiry_ms, flags[record->kind], id,
                   record->source.len);
    buffer_append(buffer, head, (size_t)len);
    buffer_append(buffer, record->source.data, record->source.len);
    if (record->kind == RECORD_VALUE)
        buffer_append(buffer, record->value.data, record->value.len);
}

void message_encode(const struct message *message, struct buffer *buffer)
{
    char head[96];
    int len =
        snprintf(head, sizeof(head), "M1%c%s%013" PRIu64 "%05zu", message->kind == MESSAGE_RECORD ? 'r' : 'c',
                 message->epoch.text, message->ttl_ms, message->key.len);

    buffer_append(buffer, head, (size_t)len);
    buffer_append(buffer, message->key.data, message->key.len);
    if (message->kind == MESSAGE_RECORD) {
        record_encode(&message->record, buffer);
        return;
    }
    len = snprintf(head, sizeof(head), "%019" PRIu64, message->record.seq);
    buffer_append(buffer, head, (size_t)len);
}
