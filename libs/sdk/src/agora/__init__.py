"""Agora's SDK: what an agent's author and a customer import.

An author writes `agora.Agent` with `agora.Input`, `agora.Output`, `@agora.step` and `agora.Context`. A
customer uses `agora.Client`, which is imported only when it is asked for, so that a worker that loads agents
does not pay for it.
"""

from typing import TYPE_CHECKING, Any

from agora.agent import Agent
from agora.context import Context, HealthContext, PrepareContext, Progress, Usage
from agora.errors import (
    AgentDefinitionError,
    AgoraError,
    InputRejected,
    ModelUnavailable,
    PermissionNotGranted,
    Retryable,
    RunFailed,
)
from agora.ports import (
    FileInfo,
    Files,
    Hit,
    Knowledge,
    Message,
    ModelReply,
    Models,
    Passage,
)
from agora.schemas import Config, FileRef, Input, Output
from agora.steps import StepDefinition, step
from agora.suspension import AgentCall, CallResult, Decision
from agora.tools import Tool, tool

if TYPE_CHECKING:
    from agora.client import ApiError, Client

__all__ = [
    "Agent",
    "AgentCall",
    "AgentDefinitionError",
    "AgoraError",
    "ApiError",
    "CallResult",
    "Client",
    "Config",
    "Context",
    "Decision",
    "FileInfo",
    "FileRef",
    "Files",
    "HealthContext",
    "Hit",
    "Input",
    "InputRejected",
    "Knowledge",
    "Message",
    "ModelReply",
    "ModelUnavailable",
    "Models",
    "Output",
    "Passage",
    "PermissionNotGranted",
    "PrepareContext",
    "Progress",
    "Retryable",
    "RunFailed",
    "StepDefinition",
    "Tool",
    "Usage",
    "step",
    "tool",
]


def __getattr__(name: str) -> Any:
    """Import the client's names on first use."""
    if name in ("Client", "ApiError"):
        from agora import client

        return getattr(client, name)
    raise AttributeError(f"module 'agora' has no attribute {name!r}")
