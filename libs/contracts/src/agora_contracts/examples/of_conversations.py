"""Examples of conversations and of memory."""

import msgspec

from agora_contracts import conversations, memory
from agora_contracts.examples import story
from agora_contracts.ids import derived
from agora_contracts.money import Money
from agora_contracts.runs import RunError

CONVERSATION_ID = derived("conv", story.TENANT, "orders")
MESSAGE_ID = derived("msg", CONVERSATION_ID, "first")
RUN_ID = derived("run", MESSAGE_ID)
CONTENT = "Which columns hold dates?"

CONVERSATION = conversations.Conversation(
    id=CONVERSATION_ID,
    tenant=story.TENANT,
    title="About our orders",
    package="knowledge-base",
    version="1.1.0",
    deployment=story.DEPLOYMENT,
    input={"top_k": 3},
    messages=3,
    running=RUN_ID,
    created_at=story.ACCEPTED_AT,
    updated_at=story.FINISHED_AT,
)
ASKED = conversations.ConversationMessage(
    id=MESSAGE_ID,
    conversation=CONVERSATION_ID,
    seq=1,
    role="user",
    content=CONTENT,
    run=RUN_ID,
    at=story.ACCEPTED_AT,
)
ANSWERED = conversations.ConversationMessage(
    id=derived("msg", MESSAGE_ID, "reply"),
    conversation=CONVERSATION_ID,
    seq=2,
    role="assistant",
    content="The run failed: the step 'Answer' was tried 3 times and failed",
    run=RUN_ID,
    at=story.FINISHED_AT,
    error=RunError(code="step_failed", detail="the step 'Answer' was tried 3 times and failed"),
)
ENTRY_ID = derived("mem", story.TENANT, story.PACKAGE, "date_format")
VALUE = memory.MemoryEntry(
    id=ENTRY_ID,
    package=story.PACKAGE,
    kind="value",
    key="date_format",
    value={"order": "day first"},
    bytes=23,
    run=story.RUN,
    at=story.FINISHED_AT,
)
TEXT = memory.MemoryEntry(
    id=derived("mem", story.STEP, "0"),
    package=story.PACKAGE,
    kind="text",
    text="The customer calls the column of prices 'net'.",
    payload={"about": "columns"},
    bytes=66,
    run=story.RUN,
    at=story.FINISHED_AT,
)

EXAMPLES: tuple[msgspec.Struct, ...] = (
    conversations.StartConversation(
        conversation=CONVERSATION_ID,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        fingerprint=story.FINGERPRINT,
        package="knowledge-base",
        version="1.1.0",
        title="About our orders",
        input={"top_k": 3},
        requested_by=story.KEY,
    ),
    conversations.StartConversation(
        conversation=CONVERSATION_ID,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        fingerprint=story.FINGERPRINT,
        deployment=story.DEPLOYMENT,
    ),
    CONVERSATION,
    conversations.GetConversation(conversation=CONVERSATION_ID, tenant=story.TENANT),
    conversations.ListConversations(
        tenant=story.TENANT,
        package="knowledge-base",
        deployment=story.DEPLOYMENT,
        cursor=story.CURSOR,
        limit=20,
    ),
    conversations.ConversationPage(items=[CONVERSATION], next_cursor=story.CURSOR),
    conversations.DeleteConversation(conversation=CONVERSATION_ID, tenant=story.TENANT, only_empty=True),
    conversations.PostMessage(
        conversation=CONVERSATION_ID,
        message=MESSAGE_ID,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        content=CONTENT,
        fingerprint=story.FINGERPRINT,
        requested_by=story.KEY,
        max_cost=Money(amount=600_000),
        wait_seconds=10,
    ),
    conversations.MessagePosted(message=ASKED, run=RUN_ID, reply=ANSWERED),
    conversations.ListMessages(
        conversation=CONVERSATION_ID, tenant=story.TENANT, cursor=story.CURSOR, limit=20
    ),
    conversations.MessagePage(items=[ASKED, ANSWERED], next_cursor=story.CURSOR),
    memory.ListMemory(tenant=story.TENANT, package=story.PACKAGE, kind="text", cursor=story.CURSOR, limit=20),
    memory.MemoryPage(items=[VALUE, TEXT], next_cursor=story.CURSOR),
    memory.GetMemory(entry=ENTRY_ID, tenant=story.TENANT),
    VALUE,
    TEXT,
    memory.DeleteMemory(tenant=story.TENANT, entry=ENTRY_ID),
    memory.DeleteMemory(tenant=story.TENANT, package=story.PACKAGE),
    memory.MemoryDeleted(count=2),
    memory.ForgetPassages(tenant=story.TENANT, collection=f"agora-memory:{story.PACKAGE}", ids=[TEXT.id]),
    memory.PassagesForgotten(left=12),
)
