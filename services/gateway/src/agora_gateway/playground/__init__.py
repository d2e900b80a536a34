"""The playground: talking to an agent over a WebSocket."""
