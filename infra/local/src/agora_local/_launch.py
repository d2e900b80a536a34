"""Become another program that dies with its parent: run by path, never imported.

Usage: `python -I -S _launch.py PARENT_PID DEATH_SIGNAL UID GID PROGRAM [ARGUMENT...]`; an empty UID keeps the
user. A process of its own does this because the alternative, `preexec_fn`, runs Python between fork and exec
of a process full of threads. Only the standard library, and little of it: each start pays for it (~20 ms).
"""

import os
import sys


def main() -> None:
    """Drop privileges, ask the kernel for a signal at the parent's death, and replace this process."""
    parent, death_signal, uid, gid, *command = sys.argv[1:]
    libc = None
    if sys.platform == "linux":
        # Before the change of user, who may not be able to read the standard library.
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
    if uid:
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    # After the change of user, which clears the setting. 1 is PR_SET_PDEATHSIG.
    if libc is not None and libc.prctl(1, int(death_signal), 0, 0, 0) != 0:
        sys.exit("prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):
        sys.exit("the parent died before this program started")
    os.execvpe(command[0], command, os.environ)


if __name__ == "__main__":
    main()
