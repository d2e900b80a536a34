"""A tenant's prepaid account. Amounts are whole micro-units of its currency."""

import re
from copy import replace
from datetime import datetime

import msgspec
from agora_contracts.billing import Balance, OpenAccount, TopUp
from agora_contracts.money import MAX_MICRO, format_amount
from agora_contracts.problems import AgoraError, FieldError

_CURRENCY = re.compile(r"[A-Z]{3}")
_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_ID_RULE = "must have 1 to 80 letters, digits, _ or -"


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What an account has and what of it is set aside.

    `credit` is paid credit not yet charged, `promotional` credit that was given, `held` the part of both that
    open holds set aside, `receivable` what the account owes beyond its credit, `postings` the number of its
    newest ledger posting. `promotional_expires_at` is when the next grant expires of which something is left.

    Invariants: 0 <= held <= credit + promotional, and 0 <= receivable <= receivable_limit. A closed account holds
    nothing.
    """

    id: str
    tenant: str
    currency: str
    credit: int = 0
    promotional: int = 0
    held: int = 0
    receivable: int = 0
    receivable_limit: int = 0
    postings: int = 0
    promotional_expires_at: datetime | None = None
    closed_at: datetime | None = None

    @property
    def available(self) -> int:
        """What new holds and charges may still take of the credit, paid and promotional."""
        return self.credit + self.promotional - self.held

    def set_aside(self, amount: int) -> "Account":
        """Hold `amount` of the available credit.

        Raises:
            AgoraError: `account_closed`, `insufficient_credit`.
        """
        self.require_open()
        if amount > self.available:
            raise AgoraError(
                "insufficient_credit",
                f"{format_amount(amount)} {self.currency} are needed and {format_amount(self.available)} "
                "are available; top the account up",
            )
        return replace(self, held=self.held + amount)

    def give_back(self, amount: int) -> "Account":
        """Make `amount` that was set aside available again."""
        return replace(self, held=self.held - amount)

    def keep_aside(self, amount: int) -> "Account":
        """Hold again what was given back in the same transaction; there is room for it."""
        return replace(self, held=self.held + amount)

    def top_up(self, amount: int) -> tuple["Account", int]:
        """Add paid credit. What is owed is paid from it first; the second value says how much that was.

        Raises:
            AgoraError: `account_closed`; `invalid_input`, when the sum is beyond what an account can hold.
        """
        self.require_open()
        if self.credit + self.promotional + amount > MAX_MICRO:
            raise AgoraError("invalid_input", "the account cannot hold so much; top up less")
        paid = min(amount, self.receivable)
        account = replace(self, credit=self.credit + amount - paid, receivable=self.receivable - paid)
        return account, paid

    def require_open(self) -> None:
        """Refuse what only an open account can take.

        Raises:
            AgoraError: `account_closed`.
        """
        if self.closed_at is not None:
            raise AgoraError(
                "account_closed",
                f"the account was closed at {self.closed_at:%Y-%m-%d %H:%M} UTC; use another",
            )

    def close(self, now: datetime) -> "Account":
        """Close the account for good; a closed one stays as it is.

        Raises:
            AgoraError: `holds_open`, when runs have something set aside.
        """
        if self.closed_at is not None:
            return self
        if self.held:
            raise AgoraError(
                "holds_open",
                f"runs have {format_amount(self.held)} {self.currency} set aside; "
                "close the account when they have ended and are charged",
            )
        return replace(self, closed_at=now)

    def balance(self) -> Balance:
        """The account as its owner sees it."""
        return Balance(
            account=self.id,
            currency=self.currency,
            credit=self.credit,
            held=self.held,
            available=self.available,
            receivable=self.receivable,
            promotional=self.promotional,
            closed_at=self.closed_at,
        )


def opened(command: OpenAccount) -> Account:
    """A new, empty account.

    Raises:
        AgoraError: `malformed_request`, naming each field at fault.
    """
    errors: list[FieldError] = []
    if not _ID.fullmatch(command.account):
        errors.append(FieldError(field="account", detail=_ID_RULE))
    if not _ID.fullmatch(command.tenant):
        errors.append(FieldError(field="tenant", detail=_ID_RULE))
    if not _CURRENCY.fullmatch(command.currency):
        errors.append(
            FieldError(field="currency", detail="must be an ISO code of three capitals, such as USD")
        )
    if not 0 <= command.receivable_limit <= MAX_MICRO:
        errors.append(FieldError(field="receivable_limit", detail=f"must be from 0 to {MAX_MICRO}"))
    if errors:
        raise AgoraError("malformed_request", "the account cannot be opened like this", errors=errors)
    return Account(
        id=command.account,
        tenant=command.tenant,
        currency=command.currency,
        receivable_limit=command.receivable_limit,
    )


def check_top_up(account: Account, command: TopUp) -> None:
    """Refuse a top-up that no account could take.

    Raises:
        AgoraError: `invalid_input` or `currency_mismatch`.
    """
    if not 0 < command.amount.amount <= MAX_MICRO:
        raise AgoraError("invalid_input", "a top-up's amount must be greater than zero")
    if command.amount.currency != account.currency:
        raise AgoraError(
            "currency_mismatch",
            f"the account is in {account.currency}, the top-up in {command.amount.currency}",
        )
