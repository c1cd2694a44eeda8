/*
 * The text form of a history, in which proofs are printed and small histories are written by hand. One line each,
 * a kind and then NAME=VALUE in any order; # begins a comment. Times are milliseconds with decimals.
 *
 *   meta epoch=HEX16 [cleared=SEQ]                       the append-only file, in its order
 *   cleared epoch=HEX16 seq=SEQ
 *   commit key=K n=S:C v=VERSION seq=SEQ [at=MS] [tombstone=1] [expires=1]
 *   gone key=K                                           expired, evicted or deleted past dcached
 *   gone_all                                             FLUSHALL
 *   gone_noted loss=MS                                   the runner's note behind it: when the loss began
 *
 *   invoked t=MS pod=P key=K n=S:C [op=set|delete|clear] [v=VERSION] [ttl=MS]
 *   answered t=MS i=MS pod=P key=K n=S:C out=OUTCOME [op=] [v=] [seq=] [epoch=HEX16] [retry=1]
 *   get|mget|strong|min_version|max_stale|converge
 *            t=MS i=MS pod=P key=K out=OUTCOME [n=S:C] [v=VERSION] [asof=MS] [check=MS] [flags=F]
 *   tick t=MS of=own|pod|redis|machine [pod=P] [stall=MS]   held back by the machine until t
 *   phase t=MS kind=faults|healed|loss|emptied|kept|quiesce|resume|converge|mark [at=MS] [arg=MS]
 *
 * t is when it was handed over, i when it was invoked, check the library's last look at the lease (t if not
 * given). n=S:C is the number of the write: stream and counter. OUTCOME is a name of report_outcome_name.
 */
#ifndef DCACHED_CHAOS_TEXT_H
#define DCACHED_CHAOS_TEXT_H

#include "tests/chaos/judge.h"

/* Judges the file: first all of its commits, then its history in the order of its times. 0, or -1 with a message
 * on standard error. */
int text_judge(const char *path, struct truth *truth, struct judge *judge);

#endif
