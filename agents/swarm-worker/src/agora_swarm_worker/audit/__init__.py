"""Auditing configuration files: reading them with their lines, and the rules they are held to."""
