"""Triages support tickets and answers those that the knowledge base answers."""

import agora
from langgraph.graph import END, START, StateGraph

from agora_ticket_resolver.deployment import health, load, prepare
from agora_ticket_resolver.nodes import State, read, resolve, search
from agora_ticket_resolver.types import Config, Input, Output


def graph() -> StateGraph[State]:
    """Read, search, resolve."""
    built = StateGraph(State)
    built.add_node("read", read)
    built.add_node("search", search)
    built.add_node("resolve", resolve)
    built.add_edge(START, "read")
    built.add_edge("read", "search")
    built.add_edge("search", "resolve")
    built.add_edge("resolve", END)
    return built


agent = agora.Agent(
    __file__,
    input=Input,
    output=Output,
    config=Config,
    state=State,
    graph=graph,
    prepare=prepare,
    load=load,
    health=health,
)
