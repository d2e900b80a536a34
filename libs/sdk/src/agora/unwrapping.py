"""What an error is once it is taken out of the groups in which task groups raise it: the same alone as on the platform."""

from agora.errors import AgentDefinitionError, InputRejected, PermissionNotGranted, Retryable

_TELLING = (InputRejected, AgentDefinitionError, PermissionNotGranted, Retryable)
"""What an agent or the SDK says on purpose; first what ends the run."""


def unwrapped(error: BaseException) -> BaseException:
    """The one error in a group, or of several the one that says most; a group that says nothing stays one."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = leaves_of(error)
    if len(leaves) == 1:
        return leaves[0]
    for kind in _TELLING:
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return error


def leaves_of(error: BaseException) -> list[BaseException]:
    """The errors in a group and the groups within it; any other error alone."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for one in error.exceptions for leaf in leaves_of(one)]
