"""`python -m agora_execution.vectors`: the one process that owns the vectors' folder."""

import structlog
import uvloop
from agora_contracts.platform import GetHealth
from agora_kit import failpoints, telemetry
from agora_kit.broker import Broker
from agora_kit.health import HealthReport
from agora_kit.service import end_signals, unless
from agora_kit.settings import load_settings

from agora_execution.knowledge import handlers
from agora_execution.knowledge.service import Knowledge
from agora_execution.knowledge.vectors import VectorStore
from agora_execution.settings import VectorsSettings

log = structlog.get_logger()


async def main() -> None:
    """Answer until asked to stop; what was answered is on disk."""
    settings = load_settings(VectorsSettings)
    failpoints.arm_from_environment()
    telemetry.configure("vectors", settings.log_level)
    asked = end_signals()
    knowledge = Knowledge(VectorStore(settings.vectors_folder))
    broker = Broker(settings.nats_url, "vectors")
    report = HealthReport("vectors")
    report.add("nats", broker.check)
    broker.answer_shared(GetHealth, report.report)
    handlers.register(broker, knowledge)
    if await unless(asked, broker.start()):
        report.status = "ready"
        log.info("ready")
        await asked.wait()
    report.status = "draining"
    await broker.stop()
    await knowledge.close()
    log.info("stopped")


if __name__ == "__main__":
    uvloop.run(main())
