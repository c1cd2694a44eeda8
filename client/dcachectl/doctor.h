/* What doctor.c (the questions put to the daemon) and findings.c (what follows from its answers) share. */
#ifndef DCACHED_DCACHECTL_DOCTOR_H
#define DCACHED_DCACHECTL_DOCTOR_H

#include "client/dcachectl/ctl.h"

enum level { LEVEL_OK, LEVEL_WARN, LEVEL_FAIL };

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
/* What the answer of `status` shows; wall_us is this machine's clock, read when it came. */
void doctor_judge(struct doctor *d, struct slice status, uint64_t wall_us);

#endif
