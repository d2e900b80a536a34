"""Agora's SDK: what an agent's author and a customer import.

An author writes `agora.Agent` with `agora.Input`, `agora.Output`, `@agora.step` and `agora.Context`. A
customer uses `agora.Client`, which is imported only when it is asked for, so that a worker that loads agents
does not pay for it.
"""

from typing import TYPE_CHECKING, Any

from agora_contracts.money import Money

from agora.agent import Agent
from agora.context import Context, HealthContext, PrepareContext, Progress, Usage
from agora.conversation import Conversation
from agora.errors import (
    AgentDefinitionError,
    AgoraError,
    InputRejected,
    ModelBudgetSpent,
    ModelUnavailable,
    PermissionNotGranted,
    Retryable,
    RunFailed,
)
from agora.memory import Memory, Recollection
from agora.ports import (
    Audio,
    Embedded,
    FileInfo,
    Files,
    Hit,
    Image,
    Knowledge,
    Message,
    ModelReply,
    Models,
    Passage,
    Text,
    ToolCall,
    ToolOffer,
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
    "Audio",
    "CallResult",
    "Client",
    "Config",
    "Context",
    "Conversation",
    "Decision",
    "Embedded",
    "FileInfo",
    "FileRef",
    "Files",
    "HealthContext",
    "Hit",
    "Image",
    "Input",
    "InputRejected",
    "Knowledge",
    "Memory",
    "Message",
    "ModelBudgetSpent",
    "ModelReply",
    "ModelUnavailable",
    "Models",
    "Money",
    "Output",
    "Passage",
    "PermissionNotGranted",
    "PrepareContext",
    "Progress",
    "Recollection",
    "Retryable",
    "RunFailed",
    "StepDefinition",
    "Text",
    "Tool",
    "ToolCall",
    "ToolOffer",
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
