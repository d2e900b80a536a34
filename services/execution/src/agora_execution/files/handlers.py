"""NATS in: commands and queries of files."""

from agora_contracts.files import DeleteFile, GetFile, ListFiles, RegisterFile
from agora_kit.service import Service

from agora_execution.files.service import Files


def register(service: Service, files: Files) -> None:
    """Answer everything about files."""
    broker = service.broker
    broker.answer(RegisterFile, files.register)
    broker.answer(GetFile, files.get)
    broker.answer(ListFiles, files.page)
    broker.answer(DeleteFile, files.delete)
