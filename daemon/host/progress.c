#include "daemon/host/progress.h"

void progress_init(struct progress *progress, uint64_t bound_ns, uint64_t now)
{
    *progress = (struct progress){.patience_ns = 3 * bound_ns, .settled_at = now, .attempted_at = now};
    if (progress->patience_ns < PROGRESS_PATIENCE_MIN_NS)
        progress->patience_ns = PROGRESS_PATIENCE_MIN_NS;
}

void progress_settled(struct progress *progress, uint64_t now)
{
    progress->settled_at = now;
}

bool progress_look(struct progress *progress, uint64_t attempts, uint64_t now)
{
    if (attempts != progress->attempts) {
        progress->attempts = attempts;
        progress->attempted_at = now;
    }
    return now - progress->settled_at <= progress->patience_ns &&
           now - progress->attempted_at <= progress->patience_ns;
}
