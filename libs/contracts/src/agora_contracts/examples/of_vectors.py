"""Examples of what the vectors process is asked."""

import msgspec

from agora_contracts import execution
from agora_contracts.examples import story

COLLECTION = f"{story.DEPLOYMENT}-1"

EXAMPLES: tuple[msgspec.Struct, ...] = (
    execution.IndexPassages(
        tenant=story.TENANT,
        collection=COLLECTION,
        passages=[
            execution.PassageIn(
                id="returns-1",
                text="Goods can be returned within 30 days.",
                payload={"document": "returns.md"},
            )
        ],
    ),
    execution.SearchPassages(
        tenant=story.TENANT,
        collection=COLLECTION,
        query="how long may I send something back?",
        limit=5,
        filters={"document": "returns.md"},
    ),
    execution.EmbedTexts(tenant=story.TENANT, texts=["Goods can be returned within 30 days."]),
    execution.DropCollection(tenant=story.TENANT, collection=COLLECTION),
    execution.Indexed(count=1),
    execution.PassageHits(
        items=[execution.PassageHit(id="returns-1", score=0.71, payload={"document": "returns.md"})]
    ),
    execution.Embeddings(vectors=[[0.6, 0.0, 0.8]]),
    execution.Dropped(existed=True),
)
