"""The time that deployments are hired for by the hour or the month."""
