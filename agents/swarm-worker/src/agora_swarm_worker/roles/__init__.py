"""What each role does."""

from agora_swarm_worker.roles import analyst, engineer, executor, researcher, reviewer, validator
from agora_swarm_worker.roles.role import RoleDefinition

ROLES: dict[str, RoleDefinition] = {
    "researcher": RoleDefinition(topic="inventory", work=researcher.work),
    "analyst": RoleDefinition(topic="assessment", work=analyst.work),
    "engineer": RoleDefinition(topic="finding", work=engineer.work),
    "reviewer": RoleDefinition(topic="vote", work=reviewer.work),
    "executor": RoleDefinition(topic="remedy", work=executor.work),
    "validator": RoleDefinition(topic="verdict", work=validator.work),
}
"""Every role by its name: under which topic it posts, and its work."""
