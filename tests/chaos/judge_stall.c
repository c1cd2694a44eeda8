#include "tests/chaos/judge_stall.h"

#include <stdlib.h>

#include "tests/chaos/judge.h"

void stalls_deinit(struct stalls *s)
{
    for (unsigned i = 0; i < PODS_MAX; i++)
        free(s->pods[i].row);
    for (unsigned i = 0; i < STREAMS_MAX; i++)
        free(s->threads[i].row);
    free(s->redis.row);
    free(s->machine.row);
}

static void lane_add(struct stall_lane *lane, uint64_t at, uint64_t ns)
{
    if (!ns)
        return;
    if (!lane->row)
        lane->row = calloc(STALLS_KEPT, sizeof(*lane->row));
    if (!lane->row)
        abort();
    lane->row[lane->count++ % STALLS_KEPT] = (struct stall){.at = at, .ns = ns};
}

static uint64_t lane_sum(const struct stall_lane *lane, uint64_t from, uint64_t to)
{
    uint64_t sum = 0, first = lane->count > STALLS_KEPT ? lane->count - STALLS_KEPT : 0;

    for (uint64_t i = lane->count; i-- > first;) {
        const struct stall *s = &lane->row[i % STALLS_KEPT];
        uint64_t begin = time_before(s->at, s->ns), end = s->at < to ? s->at : to;

        if (begin < from)
            begin = from;
        if (s->at + UINT64_C(10000000000) < from)
            break;
        if (end > begin)
            sum += end - begin;
    }
    return sum;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t stalls_of_pod(const struct stalls *s, unsigned pod, uint64_t from, uint64_t to)
{
    uint64_t chain = lane_sum(&s->pods[pod], from, to) + lane_sum(&s->redis, from, to);
    uint64_t machine = lane_sum(&s->machine, from, to);

    return to > from ? at_most(chain > machine ? chain : machine, to - from) : 0;
}

/* Every pod at every look of the monitor: was there half a D of stall within the last D? */
static void look(struct judge *j, uint64_t now)
{
    struct stalls *s = &j->stalls;

    s->watched = true;
    if (!judge_time_counts(j, now))
        return;
    for (unsigned pod = 0; pod < s->pods_count; pod++) {
        s->ticks++;
        s->stalled += stalls_of_pod(s, pod, time_before(now, j->bound_ns), now) >= j->bound_ns / 2;
    }
}

void stalls_note(struct judge *j, const struct history_record *tick)
{
    struct stalls *s = &j->stalls;
    unsigned pod = tick->pod_flags & 15;

    switch (tick->key) {
    case STALL_POD:
        if (pod >= s->pods_count)
            s->pods_count = pod + 1;
        lane_add(&s->pods[pod], tick->time, tick->what);
        break;
    case STALL_REDIS:
        lane_add(&s->redis, tick->time, tick->what);
        break;
    case STALL_MACHINE:
        lane_add(&s->machine, tick->time, tick->what);
        look(j, tick->time);
        break;
    default:
        lane_add(&s->threads[j->stream], tick->time, tick->what);
        break;
    }
}

/* ---- what came too late ----------------------------------------------------------------------------------- */

static void excuse_note(struct judge *j, const struct late *l, uint64_t stall, uint64_t excess)
{
    char *text = j->report->excuse;
    size_t size = sizeof(j->report->excuse);
    int n = snprintf(text, size, "%.3f ms were held back, %.3f are enough: %s ", (double)stall / 1e6,
                     (double)excess / 1e6, l->what);

    if (n > 0 && (size_t)n < size)
        history_format(&l->record, NULL, text + n, size - (size_t)n);
}

static bool is_excused(struct judge *j, const struct late *l)
{
    const struct history_record *r = &l->record;

    for (int i = 0; i < 2; i++) {
        uint64_t from = l->excuses[i].from, sum;

        if (!l->excuses[i].excess)
            continue;
        sum = stalls_of_pod(&j->stalls, r->pod_flags & 15, from, r->time);
        if (l->excuses[i].own_from)
            sum += lane_sum(&j->stalls.threads[l->stream], l->excuses[i].own_from, r->time);
        if (sum >= l->excuses[i].excess) {
            excuse_note(j, l, sum, l->excuses[i].excess);
            return true;
        }
    }
    return false;
}

/* With how much of it was held back, and how much would have excused it. */
static void late_violate(struct judge *j, const struct late *l)
{
    const struct history_record *r = &l->record;
    uint64_t from = l->excuses[0].from, held = stalls_of_pod(&j->stalls, r->pod_flags & 15, from, r->time);
    char what[160], text[256];

    snprintf(what, sizeof(what), "%s (%.3f ms after healing; %.3f ms of the last %.3f held back, excess %.3f)",
             l->what, (double)(r->time - j->healed_at) / 1e6, (double)held / 1e6, (double)(r->time - from) / 1e6,
             (double)l->excuses[0].excess / 1e6);
    if (r->kind) {
        judge_violate(j, l->promise, r, NULL, NULL, what);
        return;
    }
    snprintf(text, sizeof(text), "%s pod %u, by t=%.6f\n", what, r->pod_flags & 15, (double)r->time / 1e6);
    report_violate(j->report, l->promise, text);
}

static void decide(struct judge *j, const struct late *l)
{
    if (is_excused(j, l))
        j->report->excused[l->promise]++;
    else
        late_violate(j, l);
}

void late_add(struct judge *j, const struct late *l)
{
    if (j->late_count == j->late_room) {
        j->late_room = j->late_room ? j->late_room * 2 : 64;
        j->late = realloc(j->late, j->late_room * sizeof(*j->late));
        if (!j->late)
            abort();
    }
    j->late[j->late_count] = *l;
    j->late[j->late_count++].stream = j->stream;
}

void late_judge(struct judge *j, bool end)
{
    uint32_t done = 0;

    while (done < j->late_count && (end || j->late[done].record.time + STALL_NOTED_NS < j->now))
        decide(j, &j->late[done++]);
    if (!done)
        return;
    j->late_count -= done;
    for (uint32_t i = 0; i < j->late_count; i++)
        j->late[i] = j->late[i + done];
}
