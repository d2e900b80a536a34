"""Exports: asked for over NATS, done by a sweep."""

from pathlib import Path

from agora_contracts.exports import (
    CancelUsageExport,
    GetUsageExport,
    ListUsageExports,
    RequestUsageExport,
)
from agora_kit.objects import FolderObjects
from agora_kit.service import Service

from agora_metering.exports.service import Exports
from agora_metering.settings import MeteringSettings

_EXPIRE_SECONDS = 600


def register(service: Service, settings: MeteringSettings) -> None:
    """Answer for exports, and do them."""
    broker = service.broker
    exports = Exports(
        service.database,
        broker.ask,
        FolderObjects(Path(settings.objects_folder)),
        retention_days=settings.export_retention_days,
    )
    broker.answer(RequestUsageExport, exports.request)
    broker.answer(GetUsageExport, exports.get)
    broker.answer(ListUsageExports, exports.page)
    broker.answer(CancelUsageExport, exports.cancel)
    service.every(settings.export_sweep_seconds, "exports", exports.work)
    service.every(_EXPIRE_SECONDS, "expire exports", exports.expire)
