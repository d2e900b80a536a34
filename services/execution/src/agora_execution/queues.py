"""Task queues: one for each class of package, so that heavy runs and others do not take each other's places."""


def queue_name(prefix: str, package_class: str) -> str:
    """The queue that workflows of a class of package wait in."""
    return f"{prefix}-{package_class}"


def class_queue(queue: str, package_class: str) -> str:
    """The queue of another class beside `queue`, such as that of the workflow that calls it."""
    prefix, _, _ = queue.rpartition("-")
    return queue_name(prefix, package_class)
