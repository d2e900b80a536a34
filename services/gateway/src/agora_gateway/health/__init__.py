"""Whether the gateway can work."""
