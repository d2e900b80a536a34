"""What the stream of usage has: the ids of its messages, without their bodies."""

from datetime import datetime

from agora_contracts.subjects import USAGE_STREAM
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

_BATCH = 1000
_FETCH_SECONDS = 10.0


async def ids_since(client: Client, since: datetime) -> set[str]:
    """The ids of the messages that the stream of usage has received since then and has now.

    Raises:
        TimeoutError: the stream does not deliver.
    """
    # Not durable: JetStream forgets the consumer once nobody asks it for a while.
    subscription = await client.jetstream().pull_subscribe(
        USAGE_STREAM.subjects[0],
        stream=USAGE_STREAM.name,
        config=ConsumerConfig(
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=since.isoformat(),  # type: ignore[arg-type]  # sent as it is
            headers_only=True,
        ),
    )
    found: set[str] = set()
    try:
        left = (await subscription.consumer_info()).num_pending or 0
        while left:
            messages = await subscription.fetch(min(left, _BATCH), timeout=_FETCH_SECONDS)
            found |= {(message.headers or {}).get("Nats-Msg-Id", "") for message in messages}
            left -= len(messages)
    finally:
        await subscription.unsubscribe()
    return found
