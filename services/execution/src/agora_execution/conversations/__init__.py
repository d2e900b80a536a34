"""Conversations: exchanges of a user's message and the run that answers it."""
