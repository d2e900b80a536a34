"""What execution knows of the catalogue: a read model fed by its events."""
