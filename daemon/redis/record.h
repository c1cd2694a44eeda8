/*
 * The text of records, messages and meta in Redis, and their form as structs.
 *
 * A record is the value of the string `P{0}:KEY` (P is key_prefix):
 *
 *   bytes  field
 *       1  format: '1'
 *      19  version      digits, 1 .. 2^63-1
 *      19  seq          digits, 1 .. 2^63-1
 *      19  timestamp    digits, ns since 1970, store time of the commit
 *      13  expiry       digits, ms since 1970, store time; 0: never
 *       1  flag         'v' value, 't' tombstone, 'b' bare (only in messages: invalidates, no value)
 *      32  write id     lower-case hex
 *       2  length of the source, digits, 0 .. 63
 *       -  source       id of the pod that wrote it
 *       -  value        the rest; empty unless the flag is 'v'
 *
 * Numbers are zero-padded, so that they compare as text. An empty string is no record: the key is absent.
 *
 * A message on the channel `<channel>:<db>:<P>{0}`:
 *
 *       2  format: "M1"
 *       1  kind: 'r' record, 'c' clear
 *      32  epoch        lower-case hex; of a clear: the new one
 *      13  ttl          digits, ms; 0: none
 *       5  length of the key, digits
 *       -  key
 *       -  'r': the record. 'c': seq up to which everything was cleared, 19 digits, nothing after it
 *
 * Meta is the hash `P{0}!meta`: epoch (32 lower-case hex digits), run (1 .. 40 letters and digits), seq and
 * cleared (decimal without leading zeros, 0 .. 2^63-1).
 *
 * Nothing that comes from Redis is trusted: the decoders take any bytes. They return NULL, or static text that
 * names what was wrong; the result is then undefined. Slices of the result borrow from the input.
 */
#ifndef DCACHED_REDIS_RECORD_H
#define DCACHED_REDIS_RECORD_H

#include "daemon/core/core.h"
#include "proto/buffer.h"

#define RECORD_HEADER_BYTES 106                                /* up to the source */
#define RECORD_HEAD_MAX     (RECORD_HEADER_BYTES + SOURCE_MAX) /* header and source */
#define MESSAGE_HEAD_BYTES  53                                 /* up to the key */
#define MESSAGE_CARRY_MAX   (64 * 1024)                        /* larger values are sent bare. Picked. */

/* A whole record. */
const char *record_decode(struct slice text, struct record *ret_record);
/* The first RECORD_HEAD_MAX bytes of a record; value is empty. */
const char *record_decode_head(struct slice text, struct record *ret_record);
const char *message_decode(struct slice text, struct message *ret_message);

/* fields: epoch, run, seq, cleared; data NULL where Redis has none. */
void meta_decode(const struct slice fields[4], struct meta *ret_meta);

/* True if the text is a run id as INFO prints it. */
bool run_id_decode(struct slice text, struct run_id *ret_run);

/* Takes that many digits, at most 19, off the front of *text; false if they are not there. */
bool take_number(struct slice *text, size_t digits, uint64_t *ret);

/* The same texts from structs that are well-formed. The scripts write them; this is for who plays the store. */
void record_encode(const struct record *record, struct buffer *buffer);
void message_encode(const struct message *message, struct buffer *buffer);

/* ret has room for 2 * len + 1. */
void hex_encode(const uint8_t *bytes, size_t len, char *ret);

#endif
