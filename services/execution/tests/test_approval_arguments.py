"""Arguments that people change as they approve: what was asked for, what was decided, and what is no decision."""

from datetime import timedelta
from typing import Any

import pytest
from agora_contracts.approvals import Approval, DecideApproval, GetApproval, ListApprovalTrail
from agora_contracts.envelope import utc_now
from agora_contracts.money import Money
from agora_contracts.problems import AgoraError
from agora_execution.approvals.model import arguments_of, decided

from .asking import TENANT
from .driving import Platform
from .test_approvals import asked, decide

ASKED = {"invoice": "I-1", "amount": "100"}
PENDING = Approval(
    id="apr_1",
    tenant=TENANT,
    run="run_1",
    step="run_1/pay/1",
    package="payer",
    kind="approval",
    action="Pay",
    arguments=ASKED,
    reason="",
    decider="customer",
    state="pending",
    requested_at=utc_now(),
    deadline=utc_now() + timedelta(days=1),
    on_deadline="reject",
    cost_so_far=Money(amount=0),
)


def by(approve: bool = True, **given: Any) -> DecideApproval:
    """A decision."""
    return DecideApproval(approval="apr_1", approve=approve, decided_by="key_one", tenant=TENANT, **given)


def test_arguments_that_are_left_out_stay_as_asked_for() -> None:
    """
    Only what is named changes, and what was asked for is kept beside what was decided.
    """
    changed = decided(PENDING, by(arguments={"amount": "90"}), utc_now())

    assert {"invoice": "I-1", "amount": "90"} == arguments_of(changed)
    assert (ASKED, ASKED) == (changed.arguments, arguments_of(decided(PENDING, by(), utc_now())))


@pytest.mark.parametrize(
    ("first", "again", "same"),
    [
        ({"amount": "90"}, {"amount": "90", "invoice": "I-1"}, True),
        ({"amount": "90"}, None, False),
        ({"amount": "90"}, ASKED, False),
        (None, ASKED, True),
        (None, {}, True),
        (None, {"amount": "90"}, False),
    ],
)
def test_a_decision_is_the_same_where_the_same_would_be_done(
    first: dict[str, Any] | None, again: dict[str, Any] | None, same: bool
) -> None:
    """
    Approving as asked for is another decision than approving something else.
    """
    standing = decided(PENDING, by(arguments=first), utc_now())
    if same:
        assert standing is decided(standing, by(arguments=again), utc_now())
        return
    with pytest.raises(AgoraError) as caught:
        decided(standing, by(arguments=again), utc_now())
    assert "approval_decided" == caught.value.slug


@pytest.mark.parametrize(
    ("decision", "field"),
    [
        (by(approve=False, arguments={"amount": "90"}), "arguments"),
        (by(arguments={"amount": "9\0"}), "arguments/amount"),
        (by(arguments={"shell": "rm"}), "arguments.shell"),
    ],
)
def test_what_is_no_decision_says_where(decision: DecideApproval, field: str) -> None:
    """
    Arguments of a rejection, a character that cannot be stored, an argument that the action does not have.
    """
    with pytest.raises(AgoraError) as caught:
        decided(PENDING, decision, utc_now())

    assert ("invalid_input", field) == (caught.value.slug, caught.value.problem.errors[0].field)


async def test_what_was_asked_for_and_what_was_decided_are_both_kept(probe_platform: Platform) -> None:
    """
    The approval shows both, the trail says what was changed, and the run goes on with what was decided.
    """
    run, approval = await asked(probe_platform, do="approve")
    await decide(probe_platform, approval, arguments={"to": "some"}, comment="not all")
    shown = await probe_platform.ask(GetApproval(approval=approval, tenant=TENANT))
    trail = await probe_platform.ask(ListApprovalTrail(approval=approval, tenant=TENANT))

    assert ({"to": "all"}, {"to": "some"}) == (shown.arguments, shown.decided_arguments)
    assert 'not all\nwith {"to":"some"}' == trail.items[-1].detail
    assert "True some not all" == (await probe_platform.ended(run)).output["text"]
