"""Answers questions from a customer's documents, with quoted and cited passages, or says it does not know."""

import agora
from langgraph.graph import END, START, StateGraph

from agora_knowledge_base.health import health
from agora_knowledge_base.nodes import answer, search, weigh
from agora_knowledge_base.prepare import load, prepare
from agora_knowledge_base.state import State
from agora_knowledge_base.types import Config, Input, Output


def graph() -> StateGraph[State]:
    """Search, weigh what was found, answer."""
    built = StateGraph(State)
    built.add_node("search", search)
    built.add_node("weigh", weigh)
    built.add_node("answer", answer)
    built.add_edge(START, "search")
    built.add_edge("search", "weigh")
    built.add_edge("weigh", "answer")
    built.add_edge("answer", END)
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
