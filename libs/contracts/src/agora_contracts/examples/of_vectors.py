"""Examples of what the vectors process is asked."""

import msgspec

from agora_contracts import knowledge
from agora_contracts.examples import story

COLLECTION = f"{story.DEPLOYMENT}-1"

EXAMPLES: tuple[msgspec.Struct, ...] = (
    knowledge.IndexPassages(
        tenant=story.TENANT,
        collection=COLLECTION,
        passages=[
            knowledge.PassageIn(
                id="returns-1",
                text="Goods can be returned within 30 days.",
                payload={"document": "returns.md"},
            )
        ],
    ),
    knowledge.SearchPassages(
        tenant=story.TENANT,
        collection=COLLECTION,
        query="how long may I send something back?",
        limit=5,
        filters={"document": "returns.md"},
    ),
    knowledge.EmbedTexts(tenant=story.TENANT, texts=["Goods can be returned within 30 days."]),
    knowledge.DropCollection(tenant=story.TENANT, collection=COLLECTION),
    knowledge.Indexed(count=1),
    knowledge.PassageHits(
        items=[knowledge.PassageHit(id="returns-1", score=0.71, payload={"document": "returns.md"})]
    ),
    knowledge.Embeddings(vectors=[[0.6, 0.0, 0.8]]),
    knowledge.Dropped(existed=True),
)
