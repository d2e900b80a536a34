"""Usage of deployments outside of runs, told by calendar month."""
