"""Approvals over HTTP: what runs wait for people to decide."""
