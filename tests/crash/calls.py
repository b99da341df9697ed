"""The system calls that daemon and workers make, and the errors that each can plausibly give them.

By the ERRORS sections of the man pages, without those that only a fault of ours could give (EBADF, EFAULT, EINVAL).
"""

from typing import Final

ERRORS: Final[dict[str, tuple[str, ...]]] = {
    # Sockets
    "accept4": ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EAGAIN", "EPERM", "EINTR"),
    "bind": ("EADDRINUSE", "EACCES", "ENOSPC", "ENOMEM"),
    "connect": ("ECONNREFUSED", "EAGAIN", "ENOENT", "EACCES", "ENOMEM", "EINTR"),
    "getsockopt": ("ENOBUFS", "ENOMEM"),
    "listen": ("EADDRINUSE", "ENOMEM"),
    "recvfrom": ("EAGAIN", "ECONNRESET", "ENOMEM", "ENOBUFS", "EINTR"),
    "recvmsg": ("EAGAIN", "ECONNRESET", "ENOMEM", "EINTR"),
    "sendmsg": ("EAGAIN", "ENOBUFS", "ENOMEM", "EPIPE", "ECONNRESET", "EINTR"),
    "sendto": ("EAGAIN", "ENOBUFS", "ENOMEM", "EPIPE", "ECONNRESET", "EINTR"),
    "shutdown": ("ENOTCONN", "ENOBUFS"),
    "socket": ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES"),
    "socketpair": ("EMFILE", "ENFILE"),
    # Waiting
    "epoll_create1": ("EMFILE", "ENFILE", "ENOMEM"),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "epoll_wait": ("EINTR",),
    "eventfd2": ("EMFILE", "ENFILE", "ENOMEM"),
    "inotify_add_watch": ("ENOSPC", "ENOMEM", "EACCES"),
    "inotify_init1": ("EMFILE", "ENFILE", "ENOMEM"),
    "poll": ("EINTR", "ENOMEM"),
    "timerfd_create": ("EMFILE", "ENFILE", "ENOMEM"),
    "timerfd_settime": ("ECANCELED",),
    # Files
    "access": ("EACCES", "EIO", "ENOMEM"),
    "close": ("EIO", "EINTR"),
    "copy_file_range": ("EIO", "ENOSPC", "ENOMEM"),
    "dup": ("EMFILE",),
    "fallocate": ("ENOSPC", "EIO", "EINTR", "EDQUOT"),
    "fchmod": ("EIO", "EPERM", "EROFS"),
    "fchown": ("EIO", "EPERM", "EROFS"),
    "fcntl": ("EAGAIN", "EINTR", "ENOLCK", "EMFILE"),
    "fdatasync": ("EIO", "ENOSPC", "EDQUOT", "EINTR"),
    "flock": ("EINTR", "ENOLCK"),
    "fstat": ("ENOMEM", "EIO"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT", "EINTR"),
    "ftruncate": ("EIO", "EINTR", "EPERM"),
    "getdents64": ("EIO", "ENOENT"),
    "getxattr": ("EOPNOTSUPP", "EACCES"),
    "linkat": ("EIO", "ENOSPC", "EACCES"),
    "mkdir": ("ENOSPC", "EACCES", "EIO", "EEXIST"),
    "newfstatat": ("EACCES", "ENOMEM", "EIO", "ENOENT"),
    "openat": ("EMFILE", "ENFILE", "ENOMEM", "EACCES", "EIO", "ENOSPC", "EINTR"),
    "pread64": ("EIO", "EINTR"),
    "pwrite64": ("EIO", "ENOSPC", "EDQUOT", "EINTR"),
    "read": ("EIO", "EINTR", "EAGAIN", "ENOMEM"),
    "readlink": ("EACCES", "EIO", "ENOMEM"),
    "rename": ("EIO", "ENOSPC", "EACCES"),
    "rmdir": ("EIO", "EBUSY"),
    "splice": ("EAGAIN", "ENOMEM", "EINTR", "EIO"),
    "statfs": ("EIO", "ENOMEM", "EINTR"),
    "unlink": ("EIO", "EACCES", "EBUSY"),
    "unlinkat": ("EIO", "EACCES"),
    "write": ("EIO", "ENOSPC", "EDQUOT", "EAGAIN", "EINTR", "EPIPE"),
    # Memory
    "memfd_create": ("EMFILE", "ENFILE", "ENOMEM"),
    "mmap": ("ENOMEM", "EAGAIN", "ENFILE"),
    "mprotect": ("ENOMEM",),
    "mremap": ("ENOMEM", "EAGAIN"),
    "munmap": ("ENOMEM",),
    # Processes
    "chdir": ("EACCES", "EIO", "ENOENT", "ENOMEM"),
    "clone": ("EAGAIN", "ENOMEM"),  # EPERM is of namespaces, and of filters that let no job start at all
    "clone3": ("EAGAIN", "ENOMEM"),
    "kill": ("EPERM", "ESRCH"),
    "pidfd_open": ("EMFILE", "ENFILE", "ENOMEM", "ESRCH"),
    "pidfd_send_signal": ("EPERM", "ESRCH"),
    "pipe2": ("EMFILE", "ENFILE"),
    "prctl": ("EACCES", "EPERM"),
    "prlimit64": ("EPERM",),
    "vfork": ("EAGAIN", "ENOMEM"),
    "wait4": ("EINTR",),
    "waitid": ("EINTR",),
}


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WITHOUT: Final = _names(
    # These always succeed, or do unless called wrongly.
    "alarm arch_prctl exit exit_group futex getcwd getegid geteuid getgid getpeername getpid getppid getrandom "
    "getpriority getrlimit getsockname gettid getuid ioctl lseek madvise restart_syscall rseq rt_sigaction "
    "rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield set_robust_list set_tid_address setsockopt sysinfo "
    "umask uname gettimeofday clock_gettime times getrusage rt_sigtimedwait sched_getparam sched_getscheduler "
    "membarrier sigaltstack clock_nanosleep "
    # Tells a failure by the old end of the heap and not by an error: glibc takes the -1 of strace for an address.
    "brk "
    # Those of a job's process on its way to its command; the command is no part of ours.
    "dup2 dup3 execve setsid close_range setpgid"
)
"""Calls in which no error is tried."""

DAEMON: Final = _names(
    "accept4 access bind clone3 close connect epoll_ctl epoll_wait fchown fcntl fdatasync ftruncate getdents64 "
    "getsockopt getxattr inotify_add_watch inotify_init1 listen mkdir mmap mprotect mremap munmap newfstatat openat "
    "pidfd_open pidfd_send_signal pread64 prlimit64 pwrite64 read readlink recvfrom sendto socket "
    "timerfd_create timerfd_settime unlink wait4 write"
)
WORKER: Final = _names(
    "chdir clone3 close connect fallocate fsync ftruncate getdents64 getsockopt kill mkdir mmap mremap munmap "
    "newfstatat openat pidfd_open pidfd_send_signal pipe2 poll pread64 prlimit64 pwrite64 read recvfrom rename sendto "
    "socket splice unlink wait4 waitid write"
)
"""What each of them makes from its first look at its home on, under the load of tests/crash/injection.py."""
