/*
 * pod_seccomp COMMAND...: runs it under a filter of system calls like the RuntimeDefault of a container runtime
 * for a container without capabilities. What is for administrators, debuggers and new interfaces of the kernel
 * answers EPERM; clone3, whose flags a filter cannot see, ENOSYS, so that libraries take clone; clone itself makes
 * no namespace. io_uring is among the denied: newer runtimes deny it, and libuv asks for it.
 *
 * The runtimes' own profiles are lists of what is allowed. This is a list of what they leave out; it needs
 * no_new_privs set before.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMESPACES 0x7e020000 /* CLONE_NEW* of clone */
#define COUNT(a)   (sizeof(a) / sizeof *(a))

static const long denied[] = {
    SYS_acct,
    SYS_add_key,
    SYS_bpf,
    SYS_chroot,
    SYS_clock_settime,
    SYS_delete_module,
    SYS_fanotify_init,
    SYS_finit_module,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_fspick,
    SYS_get_mempolicy,
    SYS_init_module,
    SYS_io_uring_enter,
    SYS_io_uring_setup,
    SYS_io_uring_register,
    SYS_kcmp,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_mbind,
    SYS_migrate_pages,
    SYS_mount,
    SYS_move_mount,
    SYS_move_pages,
    SYS_open_tree,
    SYS_open_by_handle_at,
    SYS_perf_event_open,
    SYS_pidfd_getfd,
    SYS_pivot_root,
    SYS_process_madvise,
    SYS_quotactl,
    SYS_reboot,
    SYS_request_key,
    SYS_set_mempolicy,
    SYS_setdomainname,
    SYS_sethostname,
    SYS_setns,
    SYS_settimeofday,
    SYS_swapoff,
    SYS_swapon,
    SYS_syslog,
    SYS_umount2,
    SYS_unshare,
    SYS_userfaultfd,
    SYS_vhangup,
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_ioperm
    SYS_ioperm,
    SYS_iopl,
    SYS_uselib,
    SYS_ustat,
    SYS_sysfs,
#endif
};

#define LOAD(field)             BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_UNLESS(value, n)   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), 0, (n))
#define SKIP_UNLESS_ANY(set, n) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (set), 0, (n))
#define ANSWER(value)           BPF_STMT(BPF_RET | BPF_K, (value))
#define FAIL(error)             ANSWER(SECCOMP_RET_ERRNO | (error))

int main(int argc, char **argv)
{
    struct sock_filter filter[COUNT(denied) * 2 + 16];
    size_t n = 0;

    filter[n++] = (struct sock_filter)LOAD(nr);
    for (size_t i = 0; i < COUNT(denied); i++) {
        filter[n++] = (struct sock_filter)SKIP_UNLESS(denied[i], 1);
        filter[n++] = (struct sock_filter)FAIL(EPERM);
    }
    filter[n++] = (struct sock_filter)SKIP_UNLESS(SYS_clone3, 1);
    filter[n++] = (struct sock_filter)FAIL(ENOSYS);
    filter[n++] = (struct sock_filter)SKIP_UNLESS(SYS_clone, 3);
    filter[n++] =
        (struct sock_filter)LOAD(args[0]); /* its low half: the machines of the tests are little-endian */
    filter[n++] = (struct sock_filter)SKIP_UNLESS_ANY(NAMESPACES, 1);
    filter[n++] = (struct sock_filter)FAIL(EPERM);
    filter[n++] = (struct sock_filter)ANSWER(SECCOMP_RET_ALLOW);

    struct sock_fprog program = {.len = (unsigned short)n, .filter = filter};
    if (argc < 2 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        perror("pod_seccomp");
        return 126;
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 127;
}
