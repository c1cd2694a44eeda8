#include "tests/sim/os/fiber.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define STACK_BYTES ((size_t)1024 * 1024)
#else
#define STACK_BYTES                                                 ((size_t)256 * 1024)
#define __sanitizer_start_switch_fiber(save, bottom, size)          ((void)(save), (void)(bottom), (void)(size))
#define __sanitizer_finish_switch_fiber(save, ret_bottom, ret_size) ((void)(save))
#endif

#define GUARD_BYTES ((size_t)4096)

/*
 * swapcontext keeps the signal mask, which costs a system call each time: where we know the machine, only what a
 * function call has to keep is kept.
 */
#if defined(__x86_64__)
void fiber_swap(void **ret_from, void *to);
__asm__(".text\n"
        ".globl fiber_swap\n"
        ".hidden fiber_swap\n"
        ".type fiber_swap,@function\n"
        "fiber_swap:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size fiber_swap,.-fiber_swap\n");
#define HAVE_SWAP 1
#else
#define HAVE_SWAP 0
#endif

struct fiber {
    struct fiber *next; /* of the unused */
    uint8_t *stack;
    void (*fn)(void *arg);
    void *arg;
    bool ended;
#if HAVE_SWAP
    void *own, *caller;
#else
    ucontext_t own, caller;
#endif
    const void *caller_bottom; /* for the sanitizer */
    size_t caller_size;
};

static struct fiber *unused;

static struct fiber *fiber_map(void)
{
    struct fiber *fiber = unused;

    if (fiber) {
        unused = fiber->next;
        return fiber;
    }
    fiber = calloc(1, sizeof(*fiber));
    if (!fiber)
        abort();
    fiber->stack = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fiber->stack == MAP_FAILED || mprotect(fiber->stack, GUARD_BYTES, PROT_NONE) < 0) {
        perror("a stack of a simulated process");
        abort();
    }
    fiber->stack += GUARD_BYTES;
    return fiber;
}

static void fiber_leave(struct fiber *fiber)
{
    void *fake = NULL;

    __sanitizer_start_switch_fiber(fiber->ended ? NULL : &fake, fiber->caller_bottom, fiber->caller_size);
#if HAVE_SWAP
    fiber_swap(&fiber->own, fiber->caller);
#else
    swapcontext(&fiber->own, &fiber->caller);
#endif
    __sanitizer_finish_switch_fiber(fake, &fiber->caller_bottom, &fiber->caller_size);
}

static struct fiber *entering;

static void fiber_enter(void)
{
    struct fiber *fiber = entering;

    __sanitizer_finish_switch_fiber(NULL, &fiber->caller_bottom, &fiber->caller_size);
    fiber->fn(fiber->arg);
    fiber->ended = true;
    fiber_leave(fiber);
    abort();
}

struct fiber *fiber_new(void (*fn)(void *arg), void *arg)
{
    struct fiber *fiber = fiber_map();

    fiber->fn = fn;
    fiber->arg = arg;
    fiber->ended = false;
#if HAVE_SWAP
    /* What fiber_swap takes from the stack: six registers and the return address; then the stack is as after a
     * call: 8 bytes off a multiple of 16. */
    void **top = (void **)(void *)(fiber->stack + STACK_BYTES) - 1;

    *top = NULL;
    *--top = (void *)(uintptr_t)fiber_enter;
    for (int i = 0; i < 6; i++)
        *--top = NULL;
    fiber->own = top;
#else
    getcontext(&fiber->own);
    fiber->own.uc_stack.ss_sp = fiber->stack;
    fiber->own.uc_stack.ss_size = STACK_BYTES;
    fiber->own.uc_link = NULL;
    makecontext(&fiber->own, fiber_enter, 0);
#endif
    return fiber;
}

bool fiber_resume(struct fiber *fiber)
{
    void *fake = NULL;

    entering = fiber;
    __sanitizer_start_switch_fiber(&fake, fiber->stack, STACK_BYTES);
#if HAVE_SWAP
    fiber_swap(&fiber->caller, fiber->own);
#else
    swapcontext(&fiber->caller, &fiber->own);
#endif
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
    if (!fiber->ended)
        return true;
    fiber->next = unused;
    unused = fiber;
    return false;
}

void fiber_yield(struct fiber *fiber)
{
    fiber_leave(fiber);
}
