"""Runs: started, followed, cancelled."""
