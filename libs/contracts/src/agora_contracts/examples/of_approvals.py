"""Examples of approvals, and of steering runs."""

from datetime import timedelta

from agora_contracts.approvals import (
    Approval,
    ApprovalDecided,
    ApprovalPage,
    ApprovalRequested,
    ApprovalTrail,
    DecideApproval,
    GetApproval,
    ListApprovals,
    ListApprovalTrail,
    TrailEntry,
)
from agora_contracts.examples.story import ACCOUNT, CURSOR, FINGERPRINT, KEY, RUN, STARTED_AT, TENANT
from agora_contracts.ids import derived
from agora_contracts.money import Money
from agora_contracts.steering import (
    ChildPage,
    ChildRun,
    ListChildren,
    PauseRun,
    RerunRun,
    ResumeRun,
    RunResumed,
    RunWaiting,
)

APPROVAL = derived("apr", RUN, "pay")
STEP = f"{RUN}/pay/1"
CHILD = derived("run", RUN, "call")
_DEADLINE = STARTED_AT + timedelta(days=7)

_PENDING = Approval(
    id=APPROVAL,
    tenant=TENANT,
    run=RUN,
    step=STEP,
    package="invoice-payer",
    kind="approval",
    action="Pay the invoice",
    arguments={"invoice": "2026-114", "amount": "99.50"},
    reason="The amount is above what may be paid without asking.",
    decider="customer",
    state="pending",
    requested_at=STARTED_AT,
    deadline=_DEADLINE,
    on_deadline="reject",
    cost_so_far=Money(amount=12_000),
)
_GIVEN = Approval(
    id=APPROVAL,
    tenant=TENANT,
    run=RUN,
    step=STEP,
    package="invoice-payer",
    kind="input",
    action="Which cost centre?",
    arguments={},
    reason="",
    decider="customer",
    state="approved",
    requested_at=STARTED_AT,
    deadline=_DEADLINE,
    on_deadline="reject",
    cost_so_far=Money(amount=12_000),
    schema={"type": "string"},
    needed=Money(amount=20_000),
    needed_for="agents.cost",
    value="4711",
    decided_at=STARTED_AT,
    decided_by=KEY,
    comment="As agreed.",
    decided_arguments={"invoice": "2026-114", "amount": "90.00"},
)

EXAMPLES = (
    _PENDING,
    _GIVEN,
    ApprovalPage(items=[_PENDING], next_cursor=CURSOR),
    GetApproval(approval=APPROVAL, tenant=TENANT),
    ListApprovals(tenant=TENANT, run=RUN, state="pending", cursor=CURSOR, limit=20),
    DecideApproval(
        approval=APPROVAL,
        approve=True,
        decided_by=KEY,
        tenant=TENANT,
        arguments={"invoice": "2026-114", "amount": "90.00"},
        value="4711",
        comment="Less the discount.",
    ),
    ListApprovalTrail(approval=APPROVAL, tenant=TENANT, cursor=CURSOR, limit=50),
    ApprovalTrail(
        items=[TrailEntry(at=STARTED_AT, what="requested", who=STEP, detail="")],
        refused=2,
        next_cursor=CURSOR,
    ),
    ApprovalRequested(
        run=RUN,
        approval=APPROVAL,
        seq=3,
        step=STEP,
        kind="budget",
        action="Set more aside for this run",
        arguments={},
        reason="What is set aside for models does not cover the worst case of this call any more.",
        decider="customer",
        deadline=_DEADLINE,
        cost_so_far=Money(amount=12_000),
        needed=Money(amount=20_000),
        needed_for="model.cost",
    ),
    ApprovalDecided(
        run=RUN,
        approval=APPROVAL,
        seq=5,
        state="approved",
        decided_by=KEY,
        comment="As agreed.",
        at=STARTED_AT,
    ),
    PauseRun(run=RUN, tenant=TENANT, requested_by=KEY),
    ResumeRun(run=RUN, tenant=TENANT, requested_by=KEY),
    RerunRun(
        run_id=derived("run", RUN, "again"),
        origin=RUN,
        tenant=TENANT,
        account=ACCOUNT,
        fingerprint=FINGERPRINT,
        requested_by=KEY,
        before=STEP,
        wait_seconds=10,
        max_cost=Money(amount=500_000),
    ),
    ListChildren(run=RUN, tenant=TENANT, cursor=CURSOR, limit=20),
    ChildPage(
        items=[
            ChildRun(
                id=CHILD,
                parent=RUN,
                step=STEP,
                title="Find the policy on refunds",
                package="knowledge-base",
                status="succeeded",
                accepted_at=STARTED_AT,
                quoted=Money(amount=100_000),
                steps=2,
                waiting_for="approval",
                outcome="succeeded",
                finished_at=STARTED_AT,
                cost=Money(amount=100_000),
            )
        ],
        next_cursor=CURSOR,
    ),
    RunWaiting(run=RUN, seq=4, waiting_for="approval"),
    RunResumed(run=RUN, seq=6),
)
