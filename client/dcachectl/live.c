/* What goes on until it is interrupted: signals, the key q, the rhythm. */
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "client/dcachectl/ctl.h"

#define INTERVAL_DEFAULT_MS 1000
#define INTERVAL_LEAST_MS   100 /* picked: each screen asks the daemon up to three times */

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

bool live_interrupted(void)
{
    return interrupted;
}

void live_catch_signals(sigset_t *ret_while_waiting)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, ret_while_waiting);
    sigdelset(ret_while_waiting, SIGINT);
    sigdelset(ret_while_waiting, SIGTERM);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- the key q ---------------------------------------------------------------------------------------------- */

/* Keys at once and unseen, while we are in the foreground of a terminal. False: there is none. */
static bool keys_begin(struct termios *ret_before)
{
    struct termios raw;

    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() || tcgetattr(STDIN_FILENO, ret_before) != 0)
        return false;
    raw = *ret_before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void take_key(void)
{
    char key;

    if (read(STDIN_FILENO, &key, 1) == 1 && (key == 'q' || key == 'Q'))
        interrupted = 1;
}

/* Until `due_ms`, or the end. A reader of our output that goes away is the end, too. */
static bool wait_until(uint64_t due_ms, bool keys, const sigset_t *while_waiting)
{
    while (!interrupted && !ferror(stdout)) {
        struct pollfd fds[2] = {{.fd = STDOUT_FILENO}, {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN}};
        uint64_t now_ms = ctl_clock_ms(), left_ms = due_ms > now_ms ? due_ms - now_ms : 0;
        struct timespec left = {.tv_sec = (time_t)(left_ms / 1000), .tv_nsec = (long)(left_ms % 1000) * 1000000L};

        if (left_ms == 0)
            return true;
        if (ppoll(fds, 2, &left, while_waiting) <= 0)
            continue;
        if (fds[0].revents & (POLLERR | POLLNVAL))
            return false;
        if (fds[1].revents)
            take_key();
    }
    return false;
}

/* ---- the rhythm --------------------------------------------------------------------------------------------- */

static bool parse_interval(const char *text, uint64_t *ret_ms)
{
    uint64_t seconds;

    if (parse_count(text, &seconds))
        *ret_ms = seconds > UINT32_MAX ? 0 : seconds * 1000;
    else if (!parse_duration_ms(text, ret_ms))
        return false;
    return *ret_ms >= INTERVAL_LEAST_MS && *ret_ms <= UINT32_MAX;
}

static void sample_deinit(struct live_sample *sample)
{
    buffer_deinit(&sample->stats);
    buffer_deinit(&sample->status);
    buffer_deinit(&sample->top);
}

static int live_loop(struct ctl *ctl, uint64_t interval_ms, uint64_t count, bool keys,
                     const sigset_t *while_waiting, int (*ask)(struct ctl *, struct live_sample *),
                     void (*show)(struct ctl *, const struct live_sample *, const struct live_sample *))
{
    struct live_sample samples[2] = {0};
    int r = ask(ctl, &samples[0]);

    samples[0].at_ms = ctl_clock_ms();
    for (uint64_t i = 0; r == EXIT_OK && (count == 0 || i < count); i++) {
        struct live_sample *before = &samples[i % 2], *now = &samples[(i + 1) % 2];

        if (!wait_until(before->at_ms + interval_ms, keys, while_waiting)) {
            r = interrupted ? EXIT_OK : EXIT_FAILED;
            break;
        }
        r = ask(ctl, now);
        now->at_ms = ctl_clock_ms();
        if (r != EXIT_OK)
            break;
        if (ctl->tty && !ctl->json)
            fputs("\033[H\033[2J", stdout);
        else if (i > 0 && !ctl->json)
            putchar('\n');
        show(ctl, before, now);
        fflush(stdout);
    }
    sample_deinit(&samples[0]);
    sample_deinit(&samples[1]);
    return r;
}

int live_run(struct ctl *ctl, int (*ask)(struct ctl *, struct live_sample *),
             void (*show)(struct ctl *, const struct live_sample *, const struct live_sample *))
{
    uint64_t interval_ms = INTERVAL_DEFAULT_MS, count = 0;
    struct termios before;
    sigset_t while_waiting;
    bool keys;
    int r;

    if (ctl->operand_count && !parse_interval(ctl->operands[0], &interval_ms))
        return ctl_usage("'%.40s' is no interval: seconds, or a duration from 100ms on", ctl->operands[0]);
    if ((ctl->given & FLAG_count) && !parse_count(ctl->flags[FLAG_INDEX_count], &count))
        return ctl_usage("--count: a number from 1 on is needed");
    live_catch_signals(&while_waiting);
    keys = keys_begin(&before);
    r = live_loop(ctl, interval_ms, count, keys, &while_waiting, ask, show);
    if (keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return r;
}
