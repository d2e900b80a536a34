"""The suite from outside: HTTP, the client, the command, against all real processes."""
