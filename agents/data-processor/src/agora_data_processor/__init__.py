"""The data processor: a messy table in, a clean one out, and an account of every row."""

import agora
from langgraph.graph import END, START, StateGraph

from agora_data_processor.health import health
from agora_data_processor.nodes import clean, deliver, inspect
from agora_data_processor.types import Config, Input, Output, State

__all__ = ["agent", "graph"]


def graph() -> StateGraph[State]:
    """Inspect, clean, deliver: one after the other."""
    built = StateGraph(State)
    built.add_node("inspect", inspect)
    built.add_node("clean", clean)
    built.add_node("deliver", deliver)
    built.add_edge(START, "inspect")
    built.add_edge("inspect", "clean")
    built.add_edge("clean", "deliver")
    built.add_edge("deliver", END)
    return built


agent = agora.Agent(
    __file__, input=Input, output=Output, config=Config, state=State, graph=graph, health=health
)
