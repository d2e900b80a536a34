"""NATS in: approvals."""

from agora_contracts.approvals import DecideApproval, GetApproval, ListApprovals, ListApprovalTrail
from agora_contracts.spending import SpendingRoomGrew
from agora_kit.service import Service

from agora_execution.approvals.service import Approvals


def register(service: Service, approvals: Approvals) -> None:
    """Answer everything about approvals; hear of more to spend."""
    broker = service.broker
    broker.answer(GetApproval, approvals.get)
    broker.answer(ListApprovals, approvals.page)
    broker.answer(ListApprovalTrail, approvals.trail)
    broker.answer(DecideApproval, approvals.decide)
    # Looking for room again finds what it found before: no inbox is needed.
    broker.consume("spending", [SpendingRoomGrew], approvals.room_grew, inbox=False)
