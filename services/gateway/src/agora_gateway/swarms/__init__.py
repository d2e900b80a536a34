"""Swarms: runs of the package that coordinates others, shown with their plan, agents and findings."""
