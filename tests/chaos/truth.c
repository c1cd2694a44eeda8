#include "tests/chaos/truth.h"

#include <inttypes.h>
#include <stdlib.h>

static void *grow(void *array, unsigned count, unsigned *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 4;
    array = realloc(array, *room * size);
    if (!array)
        abort();
    return array;
}

void truth_init(struct truth *t, bool total, struct report *report)
{
    *t = (struct truth){.total = total, .report = report};
    t->keys = calloc(KEYS_MAX, sizeof(*t->keys));
    if (!t->keys)
        abort();
    truth_epoch_at(t, 0);
}

void truth_deinit(struct truth *t)
{
    for (unsigned k = 0; k < KEYS_MAX; k++)
        free(t->keys[k].absents);
    for (unsigned s = 0; s < STREAMS_MAX; s++) {
        for (unsigned i = 0; i < t->chunks_count[s]; i++)
            free(t->chunks[s][i]);
        free(t->chunks[s]);
    }
    free(t->keys);
    free(t->epochs);
    free(t->nones);
    free(t->emptied);
}

struct truth_write *truth_write_at(struct truth *t, uint64_t number)
{
    unsigned stream = (unsigned)(number >> COUNTER_BITS) % STREAMS_MAX;
    uint32_t counter = (uint32_t)number;
    unsigned chunk = counter / CHUNK_WRITES;

    if (chunk >= t->chunks_count[stream]) {
        t->chunks[stream] = realloc(t->chunks[stream], (chunk + 1) * sizeof(**t->chunks));
        if (!t->chunks[stream])
            abort();
        while (t->chunks_count[stream] <= chunk)
            t->chunks[stream][t->chunks_count[stream]++] = NULL;
    }
    if (!t->chunks[stream][chunk]) {
        t->chunks[stream][chunk] = calloc(CHUNK_WRITES, sizeof(struct truth_write));
        if (!t->chunks[stream][chunk])
            abort();
    }
    return &t->chunks[stream][chunk][counter % CHUNK_WRITES];
}

uint32_t truth_epoch_at(struct truth *t, uint64_t id)
{
    for (unsigned i = t->epochs_count; i-- > 0;) {
        if (t->epochs[i].id == id)
            return i;
    }
    t->epochs = grow(t->epochs, t->epochs_count, &t->epochs_room, sizeof(*t->epochs));
    t->epochs[t->epochs_count] = (struct truth_epoch){.id = id};
    t->report->epochs = t->epochs_count;
    return t->epochs_count++;
}

static void absent_add(struct truth *t, uint32_t key, uint64_t version, uint64_t order, uint64_t number)
{
    struct truth_key *k = &t->keys[key];

    k->absents = grow(k->absents, k->absents_count, &k->absents_room, sizeof(*k->absents));
    k->absents[k->absents_count++] = (struct truth_absent){
        .version = version, .order = order, .number = number, .after = t->last_number, .epoch = t->epoch};
}

static bool may_begin_before(struct truth *t, const struct truth_absent *absent, uint64_t moment)
{
    /* A tombstone began with its own write. */
    uint64_t number = absent->version ? absent->number : absent->after;
    const struct truth_write *w = number ? truth_write_at(t, number) : NULL;

    return !w || (w->invoked && w->invoked < moment);
}

/* The latest of a row, NULL: none. */
static const struct truth_absent *latest(struct truth *t, const struct truth_absent *row, unsigned count,
                                         uint64_t version, uint64_t before)
{
    while (count-- > 0) {
        if (row[count].version == version && may_begin_before(t, &row[count], before))
            return &row[count];
    }
    return NULL;
}

bool truth_find_absent(struct truth *t, uint32_t key, uint64_t version, uint64_t before, struct truth_absent *ret)
{
    const struct truth_key *k = &t->keys[key];
    const struct truth_absent *own = latest(t, k->absents, k->absents_count, version, before);
    const struct truth_absent *all = version ? NULL : latest(t, t->nones, t->nones_count, 0, before);

    *ret = (struct truth_absent){0};
    if (own)
        *ret = *own;
    if (all && all->order > ret->order)
        *ret = *all;
    return own || version == 0; /* at the beginning there was nothing */
}

bool truth_find_emptied(const struct truth *t, uint64_t loss, uint64_t *ret_order)
{
    for (unsigned i = t->emptied_count; i-- > 0;) {
        if (t->emptied[i].loss == loss) {
            *ret_order = t->emptied[i].order;
            return true;
        }
    }
    return false;
}

int truth_write_print(struct truth *t, uint64_t number, char *text, size_t size)
{
    static const char *const kinds[] = {"set", "delete", "clear"};
    struct truth_write *w = truth_write_at(t, number);

    return snprintf(text, size,
                    "  commit n=%" PRIu64 ":%" PRIu64 " key=%u op=%s version=%" PRIu64 " seq=%" PRIu64
                    " epoch=%016" PRIx64 " order=%" PRIu64 " t=%.6f superseded=%.6f\n",
                    number >> COUNTER_BITS, number & UINT32_MAX, w->key, kinds[w->kind % 3], w->version, w->seq,
                    t->epochs[w->epoch].id, w->order, (double)w->committed / 1e6, (double)w->superseded / 1e6);
}

static void violate_commit(struct truth *t, enum promise promise, const char *what, uint64_t number,
                           uint64_t other)
{
    char text[1024];
    int n = snprintf(text, sizeof(text), "  %s\n", what);

    if (other)
        n += truth_write_print(t, other, text + n, sizeof(text) - (size_t)n);
    if (number)
        truth_write_print(t, number, text + n, sizeof(text) - (size_t)n);
    report_violate(t->report, promise, text);
}

/* ---- commits ---------------------------------------------------------------------------------------------- */

/* Is something stored under it? (total only) */
static bool lives(const struct truth *t, const struct truth_key *k)
{
    return k->kind != TRUTH_NONE && k->order > t->none_order;
}

/* Within the life of a key versions rise: from nothing stored to nothing stored. */
static void check_version(struct truth *t, const struct truth_key *k, uint64_t number, const struct record *r)
{
    if (!lives(t, k))
        return;
    if (r->version == k->version && number != k->number)
        violate_commit(t, P_UNIQ, "two commits of one key and version:", number, k->number);
    else if (r->version < k->version && k->kind == TRUTH_TOMBSTONE)
        violate_commit(t, P_NORES, "a lower version was committed over a tombstone:", number, k->number);
    else if (r->version < k->version)
        violate_commit(t, P_MONO, "a lower version was committed over a higher one:", number, k->number);
}

static void check_write(struct truth *t, const struct truth_write *w, uint32_t key, uint64_t number)
{
    if (w->key != key || (w->asked && w->asked != w->version))
        violate_commit(t, P_NOGARB, "committed under another key or version than was asked for:", number, 0);
    if (w->rejected && !w->doubt && !w->acked)
        violate_commit(t, P_INDET, "committed although its writer was told that it was not:", number, 0);
}

static uint64_t boottime_of(const struct truth *t, uint64_t timestamp_ns)
{
    return t->dated && timestamp_ns ? timestamp_ns - (uint64_t)t->realtime_offset : 0;
}

/* The history of the key has ended since: a flush, a clear, an expiry, an eviction. Nobody can know the write any
 * more. */
static bool ended_since(const struct truth *t, uint32_t key, uint64_t order)
{
    const struct truth_key *k = &t->keys[key];
    unsigned i = k->absents_count;

    while (i > 0 && k->absents[i - 1].version)
        i--;
    return t->none_order > order || (i > 0 && k->absents[i - 1].order > order);
}

static void commit_ours(struct truth *t, uint32_t key, uint64_t number, uint64_t order, const struct record *r)
{
    struct truth_write *w = truth_write_at(t, number);
    bool again =
        w->order && (t->total ? !ended_since(t, key, w->order) : w->epoch == t->epoch && w->seq != r->seq);

    if (again)
        violate_commit(t, P_INDET, "one write was committed twice; first:", 0, number);
    w->twice |= t->total && w->order > 0;
    w->order = order;
    w->superseded = 0; /* of then */
    w->version = r->version;
    w->seq = r->seq;
    w->epoch = t->epoch;
    w->committed = boottime_of(t, r->timestamp_ns);
    if (again)
        return;
    if (w->invoked)
        check_write(t, w, key, number);
    else
        w->key = (uint16_t)key;
}

void truth_commit(struct truth *t, uint32_t key, uint64_t number, const struct record *r, bool expires)
{
    struct truth_key *k = &t->keys[key];
    struct truth_epoch *e = &t->epochs[t->epoch];
    uint64_t order = t->total ? ++t->order : r->seq;

    t->report->commits++;
    if (number) {
        t->last_number = number;
        commit_ours(t, key, number, order, r);
        truth_write_at(t, number)->expires |= expires;
    }
    if (t->total) {
        check_version(t, k, number, r);
        if (r->seq <= e->seq && !t->loading)
            violate_commit(t, P_GAP0, "seq did not rise within its epoch:", number, k->number);
        e->seq = r->seq > e->seq ? r->seq : e->seq;
    }
    if (k->number && t->total && lives(t, k))
        truth_write_at(t, k->number)->superseded = boottime_of(t, r->timestamp_ns);
    if (t->total || k->epoch != t->epoch || r->seq > k->seq) {
        k->number = number;
        k->order = order;
        k->version = r->version;
        k->seq = r->seq;
        k->epoch = t->epoch;
        k->kind = r->kind == RECORD_TOMBSTONE ? TRUTH_TOMBSTONE : TRUTH_VALUE;
    }
    if (r->kind == RECORD_TOMBSTONE)
        absent_add(t, key, r->version, order, number);
}

void truth_gone(struct truth *t, uint32_t key)
{
    struct truth_key *k = &t->keys[key];

    if (!t->total || !lives(t, k))
        return;
    k->kind = TRUTH_NONE;
    k->order = ++t->order;
    absent_add(t, key, 0, k->order, 0);
}

void truth_gone_all(struct truth *t)
{
    if (!t->total)
        return;
    t->none_order = ++t->order;
    t->nones = grow(t->nones, t->nones_count, &t->nones_room, sizeof(*t->nones));
    t->nones[t->nones_count++] = (struct truth_absent){.order = t->order, .after = t->last_number};
}

void truth_emptied(struct truth *t, uint64_t loss)
{
    t->emptied = grow(t->emptied, t->emptied_count, &t->emptied_room, sizeof(*t->emptied));
    t->emptied[t->emptied_count++] = (struct truth_emptied){.loss = loss, .order = t->none_order};
}

void truth_meta(struct truth *t, uint64_t epoch, uint64_t cleared)
{
    bool clears = cleared != NEVER_SET && cleared > t->meta_cleared;

    if (epoch) {
        t->epoch = truth_epoch_at(t, epoch);
        if (!t->epochs[t->epoch].begun)
            t->epochs[t->epoch].begun = t->order + 1;
    }
    if (cleared != NEVER_SET)
        t->meta_cleared = cleared;
    if (clears)
        truth_gone_all(t);
}

void truth_clear(struct truth *t, uint64_t epoch, uint64_t cleared)
{
    uint64_t highest = t->epochs[t->epoch].seq;

    truth_meta(t, epoch, cleared);
    truth_gone_all(t); /* also when nothing was written since the last one */
    if (cleared >= highest)
        t->epochs[t->epoch].cleared = t->none_order;
}

/* ---- acknowledgements as the truth ------------------------------------------------------------------------ */

void truth_acknowledge(struct truth *t, uint64_t number, uint32_t epoch, uint64_t seq, uint64_t version,
                       uint64_t at)
{
    struct truth_write *w = truth_write_at(t, number);
    struct truth_key *k = &t->keys[w->key];
    uint32_t current = t->epoch;

    if (w->order && w->epoch == epoch && w->seq != seq)
        violate_commit(t, P_INDET, "acknowledged with two seqs:", 0, number);
    if (k->kind != TRUTH_NONE && k->epoch == epoch && k->version == version && k->number != number &&
        k->seq != seq)
        violate_commit(t, P_UNIQ, "two writes of one key and version were accepted:", number, k->number);
    if (!w->order && w->kind == WRITE_DELETE) {
        t->epoch = epoch;
        absent_add(t, w->key, version, seq, number);
        t->epoch = current;
    }
    if (w->seq != seq || w->epoch != epoch)
        w->superseded = 0; /* of then */
    w->order = w->seq = seq;
    w->epoch = epoch;
    w->version = version;
    if (k->kind != TRUTH_NONE && k->epoch == epoch && k->seq >= seq)
        return;
    /* Epochs have no order: the later of two is known if it was asked for after the other was answered. */
    if (k->kind != TRUTH_NONE && k->epoch != epoch && w->since <= k->answered)
        return;
    k->answered = at;
    if (k->number && k->number != number && k->kind != TRUTH_NONE) {
        truth_write_at(t, k->number)->superseded = at;
        truth_write_at(t, k->number)->superseded_by = number;
    }
    k->number = number;
    k->order = k->seq = seq;
    k->version = version;
    k->epoch = epoch;
    k->kind = w->kind == WRITE_DELETE ? TRUTH_TOMBSTONE : TRUTH_VALUE;
}

void truth_check_end(struct truth *t)
{
    for (unsigned s = 0; s < STREAMS_MAX; s++) {
        for (unsigned c = 0; c < t->chunks_count[s]; c++) {
            for (unsigned i = 0; t->chunks[s][c] && i < CHUNK_WRITES; i++) {
                struct truth_write *w = &t->chunks[s][c][i];

                if (w->order && !w->invoked)
                    violate_commit(t, P_NOGARB, "committed, but never invoked:", 0,
                                   history_number(s, c * CHUNK_WRITES + i));
            }
        }
    }
}
