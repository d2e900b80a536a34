"""How much memory processes take."""

import psutil


def megabytes(pid: int, *, with_children: bool = True) -> float | None:
    """Proportional set size of a process and its children: pages that several share count in part at each.

    Resident set size where the system has no such figure; shared pages then count in full. None when the process has
    ended.
    """
    try:
        process = psutil.Process(pid)
        found = [process, *(process.children(recursive=True) if with_children else ())]
        return round(sum(_bytes(one) for one in found) / 2**20, 1)
    except psutil.Error:
        return None


def _bytes(process: psutil.Process) -> int:
    try:
        known = process.memory_full_info()
        return int(getattr(known, "pss", None) or known.rss)
    except psutil.NoSuchProcess:
        return 0
