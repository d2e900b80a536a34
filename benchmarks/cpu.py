"""CPU time by process of the platform, children included."""

import psutil
from agora_local.platform import Platform


def cpu_seconds(platform: Platform) -> dict[str, float]:
    """User and system seconds that each process and part has used so far, with its children."""
    used: dict[str, float] = {}
    for name, pid in platform.pids().items():
        process = psutil.Process(pid)
        times = [process.cpu_times()]
        for child in process.children(recursive=True):
            try:
                times.append(child.cpu_times())
            except psutil.NoSuchProcess:
                continue
        # What a part's ended children used (Postgres's closed connections) counts as well.
        used[name] = (
            sum(one.user + one.system for one in times) + times[0].children_user + times[0].children_system
        )
    return used


def milliseconds_each(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    """CPU milliseconds for each of `count` things, by process, the most first."""
    each = {name: round((after[name] - before.get(name, 0.0)) * 1000 / count, 2) for name in after}
    return dict(sorted(each.items(), key=lambda item: -item[1]))
