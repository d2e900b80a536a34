"""The coordinator of a swarm: plan, research, engineering, review, synthesis.

Who works for it are runs of other agents; nothing here knows how they do it.
"""

import agora
from langgraph.graph import END, START, StateGraph

from agora_swarm import nodes
from agora_swarm.nodes import ROUTES, State
from agora_swarm.types import Input, Output


def graph() -> StateGraph[State]:
    """The phases in their order; each is repeated while its work is planned anew."""
    built = StateGraph(State)
    built.add_node("plan", nodes.plan)
    built.add_node("research", nodes.research)
    built.add_node("analyse", nodes.analyse)
    built.add_node("engineer", nodes.engineer)
    built.add_node("remedy", nodes.remedy)
    built.add_node("review", nodes.review)
    built.add_node("judge", nodes.judge)
    built.add_node("synthesise", nodes.synthesise)
    built.add_edge(START, "plan")
    for source, (router, targets) in ROUTES.items():
        built.add_conditional_edges(source, router, targets)
    built.add_edge("synthesise", END)
    return built


agent = agora.Agent(__file__, input=Input, output=Output, state=State, graph=graph)
