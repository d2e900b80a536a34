"""Errors as data: one type on NATS, RFC 9457 problem details over HTTP; every slug in one table."""

import msgspec

TYPE_PREFIX = "https://agora.dev/problems/"
"""Stable identifiers of problem types; they name, they need not resolve."""


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a request: where (JSON pointer or parameter) and what to change."""

    field: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong and what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
    retry_after_seconds: int | None = None

    @property
    def slug(self) -> str:
        """The last part of `type`, such as `insufficient_credit`."""
        return self.type.removeprefix(TYPE_PREFIX)


class ProblemKind(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table of problems."""

    title: str
    status: int


PROBLEMS: dict[str, ProblemKind] = {
    slug: ProblemKind(title=title, status=status)
    for slug, status, title in (
        ("malformed_request", 400, "The request could not be read"),
        ("invalid_cursor", 400, "The cursor is not one of ours"),
        ("unauthenticated", 401, "A valid API key is needed"),
        ("key_expired", 401, "The API key has expired"),
        ("key_revoked", 401, "The API key was revoked"),
        ("insufficient_credit", 402, "Not enough credit"),
        ("budget_exhausted", 402, "A budget is exhausted"),
        ("forbidden", 403, "The key may not do this"),
        ("not_found", 404, "No such thing"),
        ("method_not_allowed", 405, "The method is not allowed here"),
        ("conflict", 409, "The request conflicts with what is there"),
        ("idempotency_conflict", 409, "The Idempotency-Key was used for another request"),
        ("version_exists", 409, "The version is published already with other contents"),
        ("not_executable", 409, "The package or deployment cannot be executed now"),
        ("run_ended", 409, "The run has ended"),
        ("run_paused", 409, "The run is paused"),
        ("approval_decided", 409, "The approval was decided already"),
        ("approval_expired", 409, "The approval's deadline is over"),
        ("hold_closed", 409, "The hold is closed"),
        ("account_closed", 409, "The account is closed"),
        ("holds_open", 409, "The account has open holds"),
        ("refund_exceeds_charge", 409, "The refund is more than is left of the charge"),
        ("conversation_busy", 409, "A run works on the conversation"),
        ("not_conversational", 409, "The package holds no conversations"),
        ("hold_exhausted", 409, "The run's hold does not cover this"),
        ("cyclic_call", 409, "Agents call each other in a circle"),
        ("call_too_deep", 409, "Agents call each other too deep"),
        ("keys_not_storable", 409, "No key-encryption key is set"),
        ("payload_too_large", 413, "The body is too large"),
        ("unsupported_media_type", 415, "The content type is not supported"),
        ("invalid_input", 422, "The input does not fit the schema"),
        ("invalid_config", 422, "The configuration does not fit the schema"),
        ("invalid_manifest", 422, "The manifest is not valid"),
        ("invalid_price", 422, "The price is not valid"),
        ("basis_not_rated", 422, "This price basis is not available yet"),
        ("schedule_never_fires", 422, "The schedule would never start anything"),
        ("currency_mismatch", 422, "The currency is not the account's"),
        ("quota_exceeded", 429, "A quota is used up"),
        ("too_many_requests", 429, "Too many requests"),
        ("internal", 500, "Something went wrong on our side"),
        ("unavailable", 503, "A part of the platform does not answer"),
        ("overloaded", 503, "The platform is at its limit"),
        ("deadline_exceeded", 504, "A part of the platform took too long"),
    )
}
"""Every problem slug with its HTTP status and title. A new one is added here first."""


class AgoraError(Exception):
    """Base of the errors that cross a service boundary.

    Args:
        slug: a key of `PROBLEMS`.
        detail: what happened and what to change, for the person who reads it.
        errors: the fields at fault, if any.
        retry_after_seconds: when trying again makes sense.
    """

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: list[FieldError] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        kind = PROBLEMS[slug]
        self.problem = Problem(
            type=TYPE_PREFIX + slug,
            title=kind.title,
            status=kind.status,
            detail=detail,
            errors=errors or [],
            retry_after_seconds=retry_after_seconds,
        )

    @property
    def slug(self) -> str:
        """The problem's stable code."""
        return self.problem.slug


def from_problem(problem: Problem) -> AgoraError:
    """The error that a service replied with, to be raised at the caller's side."""
    slug = problem.slug if problem.slug in PROBLEMS else "internal"
    return AgoraError(
        slug, problem.detail, errors=problem.errors, retry_after_seconds=problem.retry_after_seconds
    )
