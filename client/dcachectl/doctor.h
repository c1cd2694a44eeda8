/* What doctor.c (the questions put to the daemon) and findings.c (what follows from its answers) share. */
#ifndef DCACHED_DCACHECTL_DOCTOR_H
#define DCACHED_DCACHECTL_DOCTOR_H

#include "client/dcachectl/ctl.h"

enum level { LEVEL_OK, LEVEL_INFO, LEVEL_WARN, LEVEL_FAIL, LEVEL_COUNT };

struct finding {
    enum level level;
    const char *check;
    char cause[400];
    const char *remedy; /* ""; static */
};

#define FINDINGS_MAX 24

struct doctor {
    struct finding findings[FINDINGS_MAX];
    unsigned count;
    uint64_t committed_us, seen_us; /* of the canary, since it was sent; 0: it was not */
};

void doctor_add(struct doctor *d, enum level level, const char *check, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void doctor_not_tried(struct doctor *d, const char *check); /* it needs a connection to Redis, and there is none */
/* Of an answer of `status`: the connection that reads and writes need is there. */
bool doctor_link_is_up(struct slice status);
/* What the answer of `status` shows; wall_us is this machine's clock, read when it came. */
void doctor_judge(struct doctor *d, struct slice status, uint64_t wall_us);
/* A second answer is worth waiting for: there is something to find recent or not. */
bool doctor_has_refusals(struct slice status);
/* What was refused or lost between two answers of `status`, window_ms apart. */
void doctor_judge_refusals(struct doctor *d, struct slice before, struct slice now, uint64_t window_ms);

#endif
