"""What can go wrong between a customer and the platform.

agora.AgoraError
├── ApiError           the platform answered with a problem
└── ConnectionFailed   the platform did not answer
"""

from agora_contracts.problems import FieldError, Problem

from agora.errors import AgoraError


class ApiError(AgoraError):
    """The platform refused or could not do what was asked; its fields are those of the problem document."""

    def __init__(self, problem: Problem) -> None:
        faults = "; ".join(f"{error.field}: {error.detail}" for error in problem.errors)
        super().__init__(f"{problem.title}: {problem.detail}" + (f" ({faults})" if faults else ""))
        self.problem = problem

    @property
    def type(self) -> str:
        """The problem's stable identifier."""
        return self.problem.type

    @property
    def slug(self) -> str:
        """The last part of `type`, such as `insufficient_credit`."""
        return self.problem.slug

    @property
    def title(self) -> str:
        """What kind of problem this is."""
        return self.problem.title

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    @property
    def detail(self) -> str:
        """What happened this time, and what to change."""
        return self.problem.detail

    @property
    def errors(self) -> list[FieldError]:
        """The fields at fault, if any."""
        return self.problem.errors


class ConnectionFailed(AgoraError):
    """The platform could not be reached, or the connection broke and trying again did not help."""
