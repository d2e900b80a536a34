"""What goes wrong at a vendor, told from its package's own tree of errors: what it means, and what it may cost."""

from typing import Any, Literal

from agora.errors import ModelUnavailable

FaultKind = Literal["refused", "key", "rate_limited", "down", "timed_out", "garbled"]
"""`refused`: this request will not do here. `key`: the key is wrong or may not do this. `rate_limited`, `down`: later
perhaps. `timed_out`, `garbled`: no answer, or none that can be read or is whole."""

_AFTER_SECONDS_MAX = 3600.0


class VendorFault(ModelUnavailable):
    """A vendor was asked and did not answer as it should.

    Args:
        model: `vendor:model`.
        kind: what it means.
        detail: what happened.
        after_seconds: when the vendor says to come back.
        output_begun: some of the text had arrived, and was handed on.
    """

    def __init__(
        self,
        model: str,
        kind: FaultKind,
        detail: str,
        *,
        after_seconds: float | None = None,
        output_begun: bool = False,
    ) -> None:
        super().__init__(f"{model} {detail}")
        self.model = model
        self.kind = kind
        self.after_seconds = after_seconds
        self.output_begun = output_begun

    @property
    def may_cost(self) -> bool:
        """Whether the vendor may have worked, and charge for it; it does not for what it refused by its status."""
        return self.output_begun or self.kind in ("timed_out", "garbled")

    @property
    def may_pass(self) -> bool:
        """Whether the same request may find the same model well a little later."""
        return not self.output_begun and self.kind in ("rate_limited", "down")

    @property
    def speaks_against_model(self) -> bool:
        """Whether the fault lies at the model and not in the request, so that others should leave it alone."""
        return self.kind != "refused"


def fault_of(model: str, error: Exception, *, output_begun: bool = False) -> VendorFault:
    """What an error of a vendor's package means."""
    name = type(error).__name__
    status = _status(error)
    if status is None:
        if _was_never_reached(error):
            return VendorFault(model, "down", f"cannot be reached: {name}")
        if any("Timeout" in kind for kind in _names(error)):
            return VendorFault(model, "timed_out", "did not answer in time", output_begun=output_begun)
        if output_begun:
            return VendorFault(model, "garbled", f"broke off in its answer: {name}", output_begun=True)
        return VendorFault(model, "garbled", f"failed: {name}: its answer could not be read")
    detail = f"failed: {name}: it answered {status}"
    if status in (401, 403):
        detail = f"failed: {name}: it does not accept the key ({status})"
        return VendorFault(model, "key", detail, output_begun=output_begun)
    if status == 429:
        return VendorFault(
            model, "rate_limited", detail, after_seconds=_after_seconds(error), output_begun=output_begun
        )
    if status >= 500 or status == 408:
        return VendorFault(
            model, "down", detail, after_seconds=_after_seconds(error), output_begun=output_begun
        )
    return VendorFault(model, "refused", detail, output_begun=output_begun)


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _status(error: Exception) -> int | None:
    """The HTTP status that a vendor answered with, wherever its package keeps it."""
    for one in _chain(error):
        for name in ("status_code", "code"):
            value = getattr(one, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return None


def _names(error: Exception) -> list[str]:
    return [kind.__name__ for one in _chain(error) for kind in type(one).__mro__]


def _was_never_reached(error: Exception) -> bool:
    """Whether no connection came about: then nothing was sent, and nothing can have been charged."""
    refused = ("ConnectError", "ConnectTimeout", "ConnectionRefusedError", "ClientConnectorError")
    # Ollama's client raises the builtin, with no cause, where it could not connect.
    return any(name in refused for name in _names(error)) or any(
        type(one) is ConnectionError for one in _chain(error)
    )


def _after_seconds(error: Exception) -> float | None:
    for one in _chain(error):
        response: Any = getattr(one, "response", None)
        headers = getattr(response, "headers", None)
        if headers is None:
            continue
        try:
            seconds = float(headers.get("retry-after"))
        except (TypeError, ValueError):
            continue
        if 0 <= seconds <= _AFTER_SECONDS_MAX:
            return seconds
    return None
