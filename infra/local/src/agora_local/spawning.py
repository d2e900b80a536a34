"""Starting programs from one thread that lives as long as the interpreter."""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Linux sends the death signal when the *thread* that forked ends, not the process. All children are therefore
# started by this one thread; callers may be short-lived threads.
_spawner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="agora-spawner")


def spawn(command: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """`subprocess.Popen` with these options, in that thread; its streams are of bytes."""

    def start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(command, **options)

    return _spawner.submit(start).result()
