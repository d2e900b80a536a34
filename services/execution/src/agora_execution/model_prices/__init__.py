"""What models cost, as data with effective dates: those that came with the platform, and the operator's."""
