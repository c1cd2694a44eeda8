/* What whoever injects the faults hands in: which fired, and what the daemons counted. */
#ifndef DCACHED_CHAOS_CHECK_FILES_H
#define DCACHED_CHAOS_CHECK_FILES_H

#include "tests/chaos/check_config.h"
#include "tests/chaos/report.h"

/* TRUTH, and whether the run proves anything. 0, or -1 with a message on standard error. */
int check_files(const struct check_config *config, struct report *report);

#endif
