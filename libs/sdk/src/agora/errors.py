"""Every error of the author's side, as a tree.

AgoraError
├── AgentDefinitionError      the agent itself is written wrongly; found before any run
├── InputRejected             the customer's input or configuration cannot be worked on; never retried
├── Retryable                 a passing fault; the step is tried again under its policy
├── ModelUnavailable          no model answered; an agent goes on by its deterministic means
│   └── ModelBudgetSpent      what the run may spend on models does not cover the call
├── PermissionNotGranted      the agent used what its manifest does not ask for
└── RunFailed                 a run alone has ended without an output
"""


class AgoraError(Exception):
    """Base of every error that this package raises on purpose."""


class AgentDefinitionError(AgoraError):
    """An agent breaks a rule of the SDK. The message names the fault and the rule."""


class InputRejected(AgoraError):
    """The input cannot be worked on, and trying again would not help.

    The run fails with exactly this reason, which the customer reads, and nothing is charged.

    Args:
        code: A stable slug, such as `file_encrypted`.
        detail: What is wrong and what to change, in a sentence for the customer.
        place: Where in the input: a JSON path, a file name with a line, a cell.
    """

    def __init__(self, code: str, detail: str, place: str | None = None) -> None:
        super().__init__(detail if place is None else f"{detail} (at {place})")
        self.code = code
        self.detail = detail
        self.place = place


class Retryable(AgoraError):
    """A passing fault: a source that timed out, a vendor that is busy.

    Args:
        detail: What happened, for the log.
        after_seconds: The least time to wait before the next attempt; the policy decides without it.
    """

    def __init__(self, detail: str, after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.after_seconds = after_seconds


class ModelUnavailable(AgoraError):
    """No model could answer: none is configured, it timed out, refused, or its budget is spent."""


class ModelBudgetSpent(ModelUnavailable):
    """What the run has set aside for models does not cover the worst case of a call.

    Args:
        detail: What is missing, in a sentence.
        missing: How many micro-units more would be needed.
        needed: The call's worst case.
        limit: What the run has set aside for models in all.
    """

    def __init__(self, detail: str, *, missing: int = 0, needed: int = 0, limit: int = 0) -> None:
        super().__init__(detail)
        self.missing = missing
        self.needed = needed
        self.limit = limit


class PermissionNotGranted(AgoraError):
    """The agent used a port that the `[permissions]` of its agent.toml does not ask for."""


class RunFailed(AgoraError):
    """A run has ended without an output.

    Args:
        code: A stable slug, the one of `InputRejected` where that was the cause.
        detail: What happened, in a sentence.
        place: Where in the input, if known.
    """

    def __init__(self, code: str, detail: str, place: str | None = None) -> None:
        super().__init__(detail if place is None else f"{detail} (at {place})")
        self.code = code
        self.detail = detail
        self.place = place
