"""The deployments that billing knows: what each was hired for, and until when."""
