"""Settings of the gateway, from the environment."""

from agora_kit.settings import ServiceSettings

OPERATOR_TOKEN_LENGTH_MIN = 16


class GatewaySettings(ServiceSettings, frozen=True, kw_only=True):
    """What the gateway needs to start.

    `operator_token` opens the operator's routes and has no default. `http_port` 0 takes a free port.
    """

    operator_token: str
    objects_folder: str
    http_host: str = "127.0.0.1"
    http_port: int = 8000

    def __post_init__(self) -> None:
        token = self.operator_token
        if len(token) < OPERATOR_TOKEN_LENGTH_MIN or not token.isascii() or not token.isprintable():
            raise ValueError(
                f"operator_token must be at least {OPERATOR_TOKEN_LENGTH_MIN} printable ASCII characters"
            )
        if token.startswith("ak_"):
            raise ValueError("operator_token must not look like an API key (ak_...)")
