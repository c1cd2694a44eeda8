"""
The mutants: one broken rule each.

An edit is (file, text that is there exactly once, text instead). Where another layer would mask the break, guards
turn that layer off, by edits of their own that go first; `without` says which layer it is. A mutant is caught only
at a seed at which the guards that are off break nothing by themselves.
"""
import collections

Mutant = collections.namedtuple("Mutant", "name breaks edits guards without", defaults=([], ""))

NO_CLIENT_LEASE = dict(
    guards=[("client/clock.c", "return *ret_age_ns <= limit_ns;", "return true;")],
    without="the library's lease check")

# What a proposer forgets before anybody has looked at meta again.
PROPOSER_KEEPS = ("daemon/core/epoch.c", "        proof_forget(core, core->proposal_why);", "        (void)0;")

MUTANTS = [
    # ---- the cache and the lease
    Mutant("generation_check_skipped", "a suspect entry is served like a proven one", [
        ("daemon/core/read.c", "bool current = entry && entry->generation == core->generation &&",
         "bool current = entry &&")]),
    Mutant("lease_not_checked", "a hit needs no lease", [
        ("daemon/core/read.c", "if (current && core->as_of >= oldest_as_of(core, d)) {",
         "if (current && (!read->strong || core->as_of >= oldest_as_of(core, d))) {")], **NO_CLIENT_LEASE),
    Mutant("lease_underflows", "unsigned arithmetic makes every lease positive", [
        ("daemon/core/read.c", "if (current && core->as_of >= oldest_as_of(core, d)) {",
         "if (current && (read->strong ? core->as_of >= oldest_as_of(core, d)\n"
         "                                    : core->as_of + core->config.bound_ns - core->now + 1 > 0)) {")],
        **NO_CLIENT_LEASE),
    Mutant("lease_reads_a_cached_clock",
           "the lease is checked at the time of the loop's turn (uv_now), not of this read", [
        ("daemon/wiring.c", "note->asked_at = daemon_clock();",
         "note->asked_at = daemon_clock() - (uv_hrtime() - uv_now(&d->loop) * 1000000);")], **NO_CLIENT_LEASE),
    Mutant("stale_limit_ignored", "a permitted stale answer may be of any age", [
        ("daemon/core/read.c", "if (as_of == 0 || core->now - as_of > permitted)", "if (as_of == 0)")],
        **NO_CLIENT_LEASE),
    Mutant("strong_does_not_wait", "a strong read is served with the lease of a plain one", [
        ("daemon/core/read.c", "return d->read->strong && d->arrived > oldest ? d->arrived : oldest;",
         "return oldest;")]),
    Mutant("min_version_ignored", "a cached version below min_version is served", [
        ("daemon/core/read.c", "    if (entry && entry->version >= read->min_version) {", "    if (entry) {")]),
    Mutant("reads_do_not_wait", "a read that a heartbeat under way could serve is refused", [
        ("daemon/core/read.c", "if (*ret_reason != REASON_NONE && !proof_may_wait(core))",
         "if (*ret_reason != REASON_NONE)")]),

    # ---- fetches
    Mutant("overtaken_fetch_is_used", "a fetch that something newer has overtaken is cached and returned", [
        ("daemon/core/flight.c", "if (flight->overtaken_seq > seq) {", "if (false) {")]),
    Mutant("fetch_stamped_at_arrival", "a fetch gets the generation of its arrival, not of its mark", [
        ("daemon/core/flight.c", "        .generation = flight->generation,",
         "        .generation = core->generation,")]),
    Mutant("fetch_dated_at_arrival", "a fetched value counts as current at its arrival, not at its sending", [
        ("daemon/core/flight.c", "uint64_t as_of = flight->sent_at;", "uint64_t as_of = core->now;")]),
    Mutant("fetch_of_another_epoch_is_used", "what a fetch brings is not compared with the epoch", [
        ("daemon/core/flight.c", "bool matches = proof_fetch_matches(core, event, flight->highest);",
         "bool matches = true;"),
        ("daemon/core/flight.c", "if (flight->generation < core->epoch_first_generation || !matches) {",
         "if (!matches) {")]),
    Mutant("clear_is_ignored", "a record that a clear covers is returned", [
        ("daemon/core/epoch.c", "event->fetched.result == FETCH_RECORD &&",
         "event->fetched.result == FETCH_RECORD && false &&")]),
    Mutant("fetch_beside_the_entry", "what a fetch brings does not replace a copy that is current", [
        ("daemon/core/flight.c",
         "    if (apply_record(core, flight->key, record, &how, &result) == APPLIED_REJECTED) {",
         "    uint64_t hash;\n    struct entry *entry = apply_find(core, flight->key, &hash);\n"
         "    result = (struct apply_result){.value = record->value};\n"
         "    if ((!entry || entry->generation != core->generation) &&\n"
         "        apply_record(core, flight->key, record, &how, &result) == APPLIED_REJECTED) {")]),
    Mutant("hit_is_cut", "a hit comes without the last byte of the value", [
        ("daemon/core/read.c", "    effect->read_done.value = entry_value(entry);",
         "    effect->read_done.value = entry_value(entry);\n"
         "    effect->read_done.value.len -= effect->read_done.value.len > 0;")]),
    Mutant("mget_gives_neighbours", "each key of an mget gets the answer to the next one", [
        ("daemon/ops/reads.c", "    call_of(ops, token)->index = index;",
         "    call_of(ops, token)->index = (index + 1) % g->count;")]),
    Mutant("confirmed_by_existence", "a suspect entry is confirmed by any record of its key", [
        ("daemon/core/flight.c", "|| entry->seq != record->seq)", "|| entry->seq > record->seq)")]),

    # ---- counters
    Mutant("hit_counted_twice", "a hit is counted as two reads and two hits", [
        ("daemon/core/read.c", "COUNTED_HIT);\n    table_touch",
         "COUNTED_HIT);\n    core->counters.hits++, core->counters.reads++;\n    table_touch")]),
    Mutant("misses_are_hits", "what a fetch found is counted as a hit", [
        ("daemon/core/read.c", "waiter->confirmed ? COUNTED_HIT : COUNTED_MISS", "COUNTED_HIT")]),
    Mutant("newer_tombstone_is_a_hit", "a header that shows a newer tombstone counts as a confirmation", [
        ("daemon/core/flight.c", "    flight->header_only = false; /* a tombstone", "    /* a tombstone")]),
    Mutant("confirmations_are_misses", "a confirmed read is counted as a miss", [
        ("daemon/core/read.c", "waiter->confirmed ? COUNTED_HIT : COUNTED_MISS", "COUNTED_MISS")]),

    # ---- messages
    Mutant("message_dropped_after_count", "one message in 16 is counted and then forgotten", [
        ("daemon/core/apply.c", "    apply_record(core, message->key, record, &how, &result);\n}",
         "    if (record->seq % 16 != 0)\n        apply_record(core, message->key, record, &how, &result);\n}")]),
    Mutant("gap_tolerated", "missing messages do not begin a new generation", [
        ("daemon/core/apply.c", "proof_gap(core, GAP_MESSAGE, seq, seq);", "core->last = seq;")]),
    Mutant("late_message_is_applied", "a message at or below last is applied like the next one", [
        ("daemon/core/apply.c", "        apply_late(core, message);\n        return;",
         "        apply_late(core, message);")]),
    Mutant("ahead_forgotten", "a message inserts behind what a fetch has shown and the floors have forgotten", [
        ("daemon/core/apply.c", "if (record->seq <= core->ahead && !known_key(core, message->key)) {",
         "if (false) {")]),
    Mutant("floor_raised_beside_the_entry", "a newer record that is not cached leaves the older copy in place", [
        ("daemon/core/apply.c", "    if (!cached && entry) {", "    if (false) {")]),
    Mutant("ttl_from_arrival", "a time to live counts from the arrival of the message", [
        ("daemon/core/apply.c", "core->as_of + message->ttl_ms * NS_PER_MS",
         "core->now + message->ttl_ms * NS_PER_MS")]),

    # ---- the proof
    Mutant("heartbeat_does_not_compare", "a heartbeat proves the lease whatever was delivered", [
        ("daemon/core/proof.c", "    if (core->last >= h->seq_read) {", "    if (true) {")]),
    Mutant("proof_dated_at_pong", "as_of is the arrival of the PONG, not the start of the heartbeat", [
        ("daemon/core/proof.c", "        h->proven = h->started_at;\n        core->counters.heartbeats++;",
         "        h->proven = core->now;\n        core->counters.heartbeats++;")]),
    Mutant("two_servers_accepted", "data and subscription may end on different servers", [
        ("daemon/core/proof.c", "if (other->up && !run_id_equal(&other->run, run)) {", "if (false) {")]),
    Mutant("guard_does_not_count", "a heartbeat that no replica acknowledged is as good as any", [
        ("daemon/core/guard.c", "event->guard.replicas >= core->config.min_replicas)", "true)")]),
    Mutant("fetch_past_the_guard", "a fetched value counts from its sending, whatever the replicas say", [
        ("daemon/core/flight.c", "    as_of = guard_limit(core, as_of);", "    (void)as_of;")]),
    Mutant("rollback_unnoticed", "the replication history of the server is not looked at", [
        ("daemon/core/types.h", "    if (history->text[0] == '\\0')", "    if (true)")]),
    Mutant("meta_looked_at_once", "meta is not looked at again behind the records of a fetch", [
        ("daemon/core/epoch.c", "meta_matches(core, &event->fetched.closing, event->fetched.meta.seq);",
         "true;")]),
    Mutant("role_read_once", "a server that was demoted since it was connected goes on counting", [
        ("daemon/core/proof.c", "if (!event->identity.master || !run_id_equal(server, &core->data.run)) {",
         "if (!run_id_equal(server, &core->data.run)) {")]),
    Mutant("served_after_flush", "meta of another epoch does not end the known one", [
        ("daemon/core/epoch.c", "    if (!same_store(view, meta))\n        return",
         "    if (false)\n        return")],
        guards=[PROPOSER_KEEPS], without="what a proposer forgets at once"),
    Mutant("epoch_survives_failover", "a new epoch has the id of the old one", [
        ("daemon/redis/write.c",
         "    resp_argument_text(out, epoch.text);\n    resp_argument_text(out, item->run.text);",
         "    resp_argument_text(out, item->seen.epoch.text[0] ? item->seen.epoch.text : epoch.text);\n"
         "    resp_argument_text(out, item->run.text);")],
        guards=[
            ("daemon/core/epoch.c", "    if (!run_id_equal(&view->run, run))\n        return",
             "    if (false)\n        return"),
            PROPOSER_KEEPS,
            ("daemon/core/epoch.c", "run_id_equal(&view->meta.run, &meta->run) &&", "")],
        without="the run ids, and what a proposer forgets at once"),
    Mutant("refused_heartbeat_counts", "a heartbeat that Redis refuses proves the lease all the same", [
        ("daemon/core/proof.c", "    if (event->identity.status != REPLY_OK) {",
         "    if (event->identity.status != REPLY_OK && core->as_of > 0)\n        core->as_of = h->asked_at;\n"
         "    if (event->identity.status != REPLY_OK) {")]),

    # ---- writes
    Mutant("floor_before_acknowledgement", "the floor rises when a write is sent", [
        ("daemon/core/write.c", "    effect->write.id = pending->request.id;",
         "    stale_detector_record(core->floors, pending->write.key, core->highest + 1, pending->write.version,\n"
         "                          core->now, NULL);\n    effect->write.id = pending->request.id;")]),
    Mutant("acknowledgement_overwrites",
           "an own acknowledgement enters the cache although its message came first", [
        ("daemon/core/write.c", "    if (behind) {", "    if (false) {")]),
    Mutant("acknowledgement_not_applied", "an acknowledged write leaves the pod's own copy in place", [
        ("daemon/core/write.c", "    if (!epoch_equal(&pending->epoch, &core->view.meta.epoch) ||\n"
         "        pending->generation < core->epoch_first_generation)\n        return;\n    if (seq_went_back",
         "    if (seq > 0)\n        return;\n    if (seq_went_back")]),
    Mutant("lost_answer_is_success", "a write whose answer was lost counts as accepted", [
        ("daemon/core/write.c", "        pending_done(core, pending, WRITE_INDETERMINATE);\n        return;",
         "        pending_done(core, pending, WRITE_ACCEPTED);\n        return;")]),
    Mutant("retry_commits_again", "what is stored is not recognized as this very write", [
        ("daemon/redis/write.lua", "if old_id == id then", "if false then")],
        guards=[("daemon/redis/write.c", 'w->retry ? "1" : "0"', '"0"')],
        without="that a retry may find something newer"),
    Mutant("deadline_ignored", "a write is executed after its deadline", [
        ("daemon/redis/write.lua", "if now_us > deadline then", "if false then")]),
    Mutant("write_without_run_check", "writes are committed under a meta that stands on another run", [
        ("daemon/redis/write.lua", "at_epoch ~= epoch or at_run ~= run or", "at_epoch ~= epoch or")]),
    Mutant("equal_version_accepted", "other content at the same version replaces the first", [
        ("daemon/redis/write.lua", "elseif version == old_version then", "elseif false then")]),
    Mutant("versions_are_doubles", "versions are compared as Lua numbers", [
        ("daemon/redis/write.lua", "elseif version < old_version then",
         "elseif tonumber(version) < tonumber(old_version) then")]),
    Mutant("no_tombstone", "a delete leaves nothing behind", [
        ("daemon/redis/write.lua", "    if ttl == '0' then\n        redis.call('SET', key, record)",
         "    if flag == 't' then\n        redis.call('DEL', key)\n    elseif ttl == '0' then\n"
         "        redis.call('SET', key, record)")]),
    Mutant("tombstone_is_overwritten", "a version below that of a tombstone is accepted", [
        ("daemon/redis/write.lua", "elseif version < old_version then",
         "elseif version < old_version and old_flag ~= 't' then")]),
    Mutant("clear_not_executed", "a clear is acknowledged and does nothing", [
        ("daemon/redis/clear.lua",
         "    redis.call('HSET', KEYS[1], 'cleared', plain(seq), 'epoch', ARGV[5])\n", "")]),
    Mutant("clear_keeps_records", "a clear begins an epoch and leaves what was stored", [
        ("daemon/redis/clear.lua", "'cleared', plain(seq), 'epoch', ARGV[5])", "'epoch', ARGV[5])")]),
    Mutant("sweep_takes_what_is_new", "what is removed behind a clear includes what was written since", [
        ("daemon/redis/sweep.lua", "if version and seq <= cleared then", "if version then")]),
    Mutant("local_set_is_accepted", "a reader pod's set is answered as if it were committed", [
        ("daemon/core/local.c", "effect = write_done(core, write, outcome);",
         "effect = write_done(core, write, outcome == WRITE_LOCAL ? WRITE_ACCEPTED : outcome);")]),
    Mutant("local_set_becomes_stored", "a local set that is repeated is answered as if it were stored", [
        ("daemon/core/local.c", "bool again = held && (entry->flags & ENTRY_LOCAL) && (same || replaced);",
         "bool again = false;")]),
    Mutant("publish_errors_swallowed", "a write that may not publish is accepted", [
        ("daemon/redis/write.lua", "    redis.call('PUBLISH', channel,", "    redis.pcall('PUBLISH', channel,")],
        guards=[("daemon/core/proof.c", "    if (core->last >= h->seq_read) {", "    if (true) {")],
        without="the heartbeat's comparison"),

    # ---- the library
    Mutant("library_ignores_as_of", "the library hands over whatever the daemon answered",
           NO_CLIENT_LEASE["guards"]),
    Mutant("library_maps_to_receipt",
           "the daemon's clock is mapped to the receipt of the hello, not its sending", [
        ("client/link.c", "clock_map_learn(&link->clock, sent_ns, clock_now_ns(), hello.clock_ns);",
         "clock_map_learn(&link->clock, clock_now_ns(), clock_now_ns(), hello.clock_ns);\n    (void)sent_ns;")]),
    Mutant("library_repeats_writes", "a write on a lost connection is sent again as if it had not been sent", [
        ("client/link.c", "    if (request->writes) {\n        snprintf",
         "    if (request->writes && request->repeated) {\n        snprintf")]),
]
