"""HTTP of conversations: begin, read, delete, and exchange messages."""

from typing import Annotated

from agora_contracts.conversations import (
    DeleteConversation,
    GetConversation,
    ListConversations,
    ListMessages,
    PostMessage,
    StartConversation,
)
from agora_kit.broker import Broker
from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from agora_gateway.conversations import service, shapes
from agora_gateway.conversations.shapes import (
    ConversationBody,
    ConversationPageShape,
    ConversationShape,
    MessageBody,
    MessagePageShape,
    PostedShape,
    conversation_shape,
    message_shape,
    posted_shape,
)
from agora_gateway.edge.gate import PREFIX
from agora_gateway.edge.headers import fingerprint, requested_id, wait_seconds
from agora_gateway.edge.principals import Tenant, requires
from agora_gateway.edge.routing import (
    TENANT_SECURITY,
    ConversationId,
    Cursor,
    IdempotencyKey,
    Limit,
    Prefer,
    answers,
    body,
    existing,
    header,
)
from agora_gateway.edge.shapes import read_max_cost

Package = Annotated[
    str | None, QueryParameter(name="package", description="Only conversations with this package.")
]
Deployment = Annotated[
    str | None, QueryParameter(name="deployment", description="Only conversations with this deployment.")
]

_RUN_REFUSED = (
    "not_found",
    "not_executable",
    "not_conversational",
    "idempotency_conflict",
    "malformed_request",
    "invalid_input",
)


@post(
    "/",
    guards=[requires("execute")],
    summary="Begin a conversation",
    operation_id="startConversation",
    responses=answers(shapes.A_CONVERSATION, *_RUN_REFUSED, status=201),
)
async def start_conversation(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    data: Annotated[ConversationBody, body(shapes.A_BODY)],
    idempotency_key: IdempotencyKey = None,
) -> ConversationShape:
    """Begin a conversation with a package or a deployment whose manifest has a `[conversation]`. Nothing runs yet."""
    command = StartConversation(
        conversation=requested_id("conv", tenant.id, idempotency_key),
        tenant=tenant.id,
        account=tenant.account,
        fingerprint=fingerprint("converse", "", data),
        package=data.package,
        version=data.version,
        deployment=data.deployment,
        title=data.title,
        input=data.input,
        requested_by=tenant.key,
    )
    return conversation_shape(await broker.ask(command))


@get(
    "/",
    guards=[requires("read")],
    summary="List conversations",
    operation_id="listConversations",
    responses=answers(shapes.A_PAGE, "invalid_input", "invalid_cursor"),
)
async def list_conversations(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    package: Package = None,
    deployment: Deployment = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> ConversationPageShape:
    """The tenant's conversations, the one with the newest message first."""
    query = ListConversations(
        tenant=tenant.id, package=package, deployment=deployment, cursor=cursor, limit=limit
    )
    page = await broker.ask(query)
    return ConversationPageShape(
        items=[conversation_shape(one) for one in page.items], next_cursor=page.next_cursor
    )


@get(
    "/{conversation:str}",
    guards=[requires("read")],
    summary="Read a conversation",
    operation_id="getConversation",
    responses=answers(shapes.A_CONVERSATION, "not_found"),
)
async def get_conversation(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], conversation: ConversationId
) -> ConversationShape:
    """One conversation; its messages are listed by themselves."""
    query = GetConversation(conversation=existing("conv", conversation), tenant=tenant.id)
    return conversation_shape(await broker.ask(query))


@delete(
    "/{conversation:str}",
    status_code=200,
    guards=[requires("execute")],
    summary="Delete a conversation",
    operation_id="deleteConversation",
    responses=answers(shapes.A_CONVERSATION, "not_found", "conversation_busy"),
)
async def delete_conversation(
    broker: NamedDependency[Broker], tenant: NamedDependency[Tenant], conversation: ConversationId
) -> ConversationShape:
    """Delete a conversation with its messages. Its runs stay, as what was charged for."""
    command = DeleteConversation(conversation=existing("conv", conversation), tenant=tenant.id)
    return conversation_shape(await broker.ask(command))


@get(
    "/{conversation:str}/messages",
    guards=[requires("read")],
    summary="List a conversation's messages",
    operation_id="listMessages",
    responses=answers(shapes.A_MESSAGE_PAGE, "not_found", "invalid_input", "invalid_cursor"),
)
async def list_messages(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    conversation: ConversationId,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> MessagePageShape:
    """Both sides' messages, oldest first. The assistant's is there as soon as its run has ended."""
    query = ListMessages(
        conversation=existing("conv", conversation), tenant=tenant.id, cursor=cursor, limit=limit
    )
    page = await broker.ask(query)
    return MessagePageShape(items=[message_shape(one) for one in page.items], next_cursor=page.next_cursor)


@post(
    "/{conversation:str}/messages",
    status_code=202,
    guards=[requires("execute")],
    summary="Post a message",
    operation_id="postMessage",
    response_headers=[header("Location", "Where the run that answers is followed.")],
    responses=answers(
        shapes.A_POSTED,
        *_RUN_REFUSED,
        "conversation_busy",
        "payload_too_large",
        "insufficient_credit",
        "budget_exhausted",
        "account_closed",
        "currency_mismatch",
        status=(200, 202),
        description="The message and its run: 202 while that goes on, 200 with the reply when it has ended.",
    ),
)
async def post_message(
    broker: NamedDependency[Broker],
    tenant: NamedDependency[Tenant],
    conversation: ConversationId,
    data: Annotated[MessageBody, body(shapes.A_MESSAGE_BODY)],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response[PostedShape]:
    """Say something: a run answers it. One message at a time; the same Idempotency-Key posts and runs it once."""
    known = existing("conv", conversation)
    # The key counts within its conversation.
    asked = requested_id("msg", known, idempotency_key)
    command = PostMessage(
        conversation=known,
        message=asked,
        tenant=tenant.id,
        account=tenant.account,
        content=data.content,
        fingerprint=fingerprint("message", known, data),
        requested_by=tenant.key,
        max_cost=read_max_cost(data.max_cost),
    )
    posted = await service.post_message(broker, command, wait_seconds(prefer))
    return Response(
        posted_shape(posted),
        status_code=202 if posted.reply is None else 200,
        headers={"location": f"{PREFIX}/runs/{posted.run}"},
    )


router = Router(
    "/conversations",
    route_handlers=[
        start_conversation,
        list_conversations,
        get_conversation,
        delete_conversation,
        list_messages,
        post_message,
    ],
    tags=["Conversations"],
    security=TENANT_SECURITY,
)
