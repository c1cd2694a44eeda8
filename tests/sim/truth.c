#include "tests/sim/truth.h"

#include <stdlib.h>

/* Room for one more element; the simulation has no use for running on without memory. */
static void *grow(void *array, int count, int *room, size_t size)
{
    if (count < *room)
        return array;
    *room = *room ? *room * 2 : 16;
    array = realloc(array, (size_t)*room * size);
    if (!array)
        abort();
    return array;
}

void truth_deinit(struct truth *truth)
{
    for (int e = 0; e < truth->count; e++) {
        for (int k = 0; k < SIM_KEYS; k++) {
            free(truth->epochs[e].lines[k].states);
            free(truth->epochs[e].lines[k].acks);
        }
    }
    free(truth->epochs);
    *truth = (struct truth){0};
}

int truth_begin_epoch(struct truth *truth, const struct epoch *id, const struct run_id *run, uint64_t now)
{
    truth->epochs = grow(truth->epochs, truth->count, &truth->room, sizeof(*truth->epochs));
    truth->epochs[truth->count] =
        (struct truth_epoch){.id = *id, .run = *run, .begins = now, .ends = NEVER, .superseded = NEVER};
    return truth->count++;
}

int truth_find_epoch(const struct truth *truth, const struct epoch *id, const struct run_id *run)
{
    for (int e = truth->count - 1; e >= 0; e--) {
        if (epoch_equal(&truth->epochs[e].id, id) && run_id_equal(&truth->epochs[e].run, run))
            return e;
    }
    return -1;
}

int truth_find_epoch_at(const struct truth *truth, const struct epoch *id, const struct run_id *run, uint64_t at)
{
    for (int i = truth->count - 1; i >= 0; i--) {
        const struct truth_epoch *e = &truth->epochs[i];

        if (epoch_equal(&e->id, id) && run_id_equal(&e->run, run) && e->begins <= at && e->ends > at)
            return i;
    }
    return truth_find_epoch(truth, id, run);
}

const struct truth_epoch *truth_first_of(const struct truth *truth, const struct epoch *id)
{
    for (int e = 0; e < truth->count; e++) {
        if (epoch_equal(&truth->epochs[e].id, id))
            return &truth->epochs[e];
    }
    return NULL;
}

uint64_t truth_run_changed(const struct truth *truth, const struct run_id *run)
{
    uint64_t at = 0;

    for (int i = 0; i < truth->count; i++) {
        const struct truth_epoch *e = &truth->epochs[i];

        if (strncmp(e->run.text, run->text, RUN_HALF) != 0)
            continue;
        if (e->ended_by_role && e->ends > at)
            at = e->ends;
        if (!run_id_equal(&e->run, run) && e->begins > at)
            at = e->begins;
    }
    return at;
}

int truth_add(struct truth *truth, int epoch, int key, const struct truth_state *state)
{
    struct truth_line *line = &truth->epochs[epoch].lines[key];

    line->states = grow(line->states, line->states_count, &line->states_room, sizeof(*line->states));
    line->states[line->states_count] = *state;
    return line->states_count++;
}

void truth_acknowledge(struct truth *truth, int epoch, int key, uint64_t now, int position)
{
    struct truth_line *line = &truth->epochs[epoch].lines[key];
    int strongest = line->acks_count ? line->acks[line->acks_count - 1].strongest : -1;

    line->acks = grow(line->acks, line->acks_count, &line->acks_room, sizeof(*line->acks));
    line->acks[line->acks_count++] = (struct truth_ack){
        .at = now,
        .position = position,
        .strongest = position > strongest ? position : strongest,
    };
}

int truth_find_value(const struct truth *truth, int epoch, int key, uint64_t version, int content)
{
    const struct truth_line *line = &truth->epochs[epoch].lines[key];

    for (int i = line->states_count - 1; i >= 0; i--) {
        const struct truth_state *s = &line->states[i];

        if (s->kind == TRUTH_VALUE && s->version == version && s->content == content)
            return i;
    }
    return -1;
}

int truth_find_tombstone(const struct truth *truth, int epoch, int key, uint64_t version)
{
    const struct truth_line *line = &truth->epochs[epoch].lines[key];

    for (int i = line->states_count - 1; i >= 0; i--) {
        if (line->states[i].kind == TRUTH_TOMBSTONE && line->states[i].version == version)
            return i;
    }
    return -1;
}

int truth_find_absent(const struct truth *truth, int epoch, int key)
{
    const struct truth_line *line = &truth->epochs[epoch].lines[key];

    for (int i = line->states_count - 1; i >= 0; i--) {
        if (line->states[i].kind != TRUTH_VALUE)
            return i;
    }
    return -1;
}

int truth_required(const struct truth *truth, int epoch, int key, uint64_t before)
{
    const struct truth_line *line = &truth->epochs[epoch].lines[key];

    for (int i = line->acks_count - 1; i >= 0; i--) {
        if (line->acks[i].at < before)
            return line->acks[i].strongest;
    }
    return -1;
}

const struct truth_state *truth_at(const struct truth *truth, int epoch, int key, int position)
{
    return &truth->epochs[epoch].lines[key].states[position];
}

int truth_find_seq(const struct truth *truth, int epoch, int key, uint64_t seq)
{
    const struct truth_line *line = &truth->epochs[epoch].lines[key];

    for (int i = line->states_count - 1; i >= 0; i--) {
        if (line->states[i].kind != TRUTH_NONE && line->states[i].seq == seq)
            return i;
    }
    return -1;
}

const struct truth_state *truth_last(const struct truth *truth, int epoch, int key)
{
    const struct truth_line *line = &truth->epochs[epoch].lines[key];

    return line->states_count ? &line->states[line->states_count - 1] : NULL;
}
