"""Examples of execution's messages: runs, deployments, files, health of packages."""

from datetime import timedelta
from decimal import Decimal

import msgspec

from agora_contracts import deployments, files, package_health, runs, usage
from agora_contracts.examples import story
from agora_contracts.ids import derived
from agora_contracts.money import Money

ERROR = runs.RunError(
    code="unreadable_file", detail="the file is neither CSV nor Excel nor JSON", place="/file"
)
EVENTS: tuple[msgspec.Struct, ...] = (
    runs.RunAccepted(
        run=story.RUN,
        account=story.ACCOUNT,
        package=story.PACKAGE,
        version=story.VERSION,
        price_version=story.PRICE_VERSION,
        basis="job",
        hold_epoch=1,
        quoted=story.QUOTED,
        deployment=story.DEPLOYMENT,
        seq=1,
        api_key=story.KEY,
        run_limit=Money(amount=1_000_000),
        parent=derived("run", story.TENANT, "month-end"),
    ),
    runs.RunStarted(run=story.RUN, seq=2),
    runs.StepRecorded(
        run=story.RUN,
        step=story.STEP,
        seq=3,
        node="clean",
        title="Clean the table",
        visit=1,
        branch="",
        usage=story.USAGE,
        summary="1,840 rows, 212 cells repaired",
    ),
    usage.UsageRecorded(
        meter="model.cost",
        quantity=Decimal("0.0125"),
        run=story.RUN,
        deployment=story.DEPLOYMENT,
        package=story.PACKAGE,
        step=story.STEP,
        dimensions={"vendor": "openai", "model": "gpt-4.1-mini"},
    ),
    runs.RunFinished(
        run=story.RUN,
        outcome="succeeded",
        deliverable="full",
        usage_count=2,
        at=story.FINISHED_AT,
        package=story.PACKAGE,
        version=story.VERSION,
        delivered_units=1840,
        deployment=story.DEPLOYMENT,
        seq=4,
    ),
    runs.RunFinished(
        run=story.RUN,
        outcome="failed",
        deliverable="empty",
        usage_count=0,
        at=story.FINISHED_AT,
        package=story.PACKAGE,
        version=story.VERSION,
        error=ERROR,
        seq=3,
    ),
    runs.RunCharged(run=story.RUN, seq=5, revision=1, amount=story.CHARGED, lines=story.CHARGE_LINES),
    runs.RunCharged(
        run=story.RUN,
        seq=6,
        revision=1,
        amount=Money(amount=312_500),
        lines=story.CHARGE_LINES,
        refunded=Money(amount=200_000),
    ),
    deployments.DeploymentStarted(
        deployment=story.DEPLOYMENT,
        account=story.ACCOUNT,
        package=story.PACKAGE,
        version=story.VERSION,
        price_version=story.PRICE_VERSION,
        basis="job",
        at=story.ACCEPTED_AT,
    ),
    deployments.DeploymentEnded(
        deployment=story.DEPLOYMENT, account=story.ACCOUNT, at=story.ACCEPTED_AT + timedelta(days=30)
    ),
    runs.RunProgress(run=story.RUN, step=story.STEP, node="clean", message="repairing dates", fraction=0.4),
)

RUN = runs.Run(
    id=story.RUN,
    tenant=story.TENANT,
    status="succeeded",
    package=story.PACKAGE,
    version=story.VERSION,
    basis="job",
    accepted_at=story.ACCEPTED_AT,
    quoted=story.QUOTED,
    deployment=story.DEPLOYMENT,
    started_at=story.STARTED_AT,
    finished_at=story.FINISHED_AT,
    output=story.OUTPUT,
    deliverable="full",
    usage=story.USAGE,
    steps=1,
    cost=story.CHARGED,
    requested_by=story.KEY,
)
WAITING = msgspec.structs.replace(
    RUN, status="waiting", waiting_for="budget", finished_at=None, output=None, deliverable=None, cost=None
)
FAILED = msgspec.structs.replace(
    RUN, status="failed", error=ERROR, output=None, deliverable="empty", usage=[], cost=story.NOTHING
)
RUNS: tuple[msgspec.Struct, ...] = (
    runs.StartRun(
        run_id=story.RUN,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        fingerprint=story.FINGERPRINT,
        requested_by=story.KEY,
        input=story.INPUT,
        deployment=story.DEPLOYMENT,
        wait_seconds=30,
        max_cost=Money(amount=1_000_000),
    ),
    runs.StartRun(
        run_id=story.RUN,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        fingerprint=story.FINGERPRINT,
        requested_by=story.KEY,
        input=story.INPUT,
        package=story.PACKAGE,
        version=story.VERSION,
    ),
    runs.GetRun(run=story.RUN, tenant=story.TENANT, wait_seconds=30),
    runs.ListRuns(
        tenant=story.TENANT,
        status="failed",
        package=story.PACKAGE,
        deployment=story.DEPLOYMENT,
        cursor=story.CURSOR,
        limit=20,
    ),
    runs.CancelRun(run=story.RUN, tenant=story.TENANT, requested_by=story.KEY),
    runs.ListSteps(run=story.RUN, tenant=story.TENANT, cursor=story.CURSOR, limit=100),
    runs.ListRunEvents(run=story.RUN, tenant=story.TENANT, after=2, limit=100),
    runs.EstimateRun(
        tenant=story.TENANT, input=story.INPUT, deployment=story.DEPLOYMENT, account=story.ACCOUNT
    ),
    runs.EstimateRun(tenant=story.TENANT, input=story.INPUT, package=story.PACKAGE, version=story.VERSION),
    usage.ListRunUsage(run=story.RUN, tenant=story.TENANT),
    usage.ReplayRunUsage(run=story.RUN),
    RUN,
    WAITING,
    FAILED,
    runs.RunPage(items=[RUN, FAILED], next_cursor=story.CURSOR),
    runs.StepList(
        items=[
            runs.Step(
                id=story.STEP,
                node="clean",
                title="Clean the table",
                visit=1,
                branch="",
                seq=3,
                attempt=1,
                started_at=story.STARTED_AT,
                finished_at=story.FINISHED_AT,
                usage=story.USAGE,
                summary="1,840 rows, 212 cells repaired",
            )
        ],
        next_cursor=story.CURSOR,
    ),
    runs.RunEventList(
        items=[
            runs.RunEvent(
                seq=2,
                type="agora.run.started.v1",
                time=story.STARTED_AT,
                data={"run": story.RUN, "seq": 2},
            )
        ],
        complete=False,
        more=True,
    ),
    runs.RunEstimate(estimates=story.ESTIMATES, quote=story.QUOTE),
    usage.RunUsageIds(run=story.RUN, ids=[f"{story.STEP}1/jobs", f"{story.STEP}2/model.cost"]),
    usage.Replayed(count=3),
)

DEPLOYMENT = deployments.Deployment(
    id=story.DEPLOYMENT,
    tenant=story.TENANT,
    name="Orders",
    status="active",
    package=story.PACKAGE,
    version=story.VERSION,
    basis="job",
    price_version=story.PRICE_VERSION,
    config={"decimal_comma": True},
    config_revision=1,
    started_at=story.ACCEPTED_AT,
)
DEPLOYMENTS: tuple[msgspec.Struct, ...] = (
    deployments.StartDeployment(
        deployment_id=story.DEPLOYMENT,
        tenant=story.TENANT,
        account=story.ACCOUNT,
        fingerprint=story.FINGERPRINT,
        package=story.PACKAGE,
        basis="job",
        name="Orders",
        version=story.VERSION,
        config={"decimal_comma": True},
        requested_by=story.KEY,
    ),
    deployments.GetDeployment(deployment=story.DEPLOYMENT, tenant=story.TENANT),
    deployments.ListDeployments(tenant=story.TENANT, status="active", cursor=story.CURSOR, limit=20),
    deployments.ChangeDeploymentConfig(
        deployment=story.DEPLOYMENT, tenant=story.TENANT, config={"decimal_comma": False}
    ),
    deployments.EndDeployment(deployment=story.DEPLOYMENT, tenant=story.TENANT),
    DEPLOYMENT,
    msgspec.structs.replace(
        DEPLOYMENT,
        status="terminated",
        ended_at=story.FINISHED_AT,
        error=runs.RunError(code="preparation_failed", detail="the folder holds no document"),
    ),
    deployments.DeploymentPage(items=[DEPLOYMENT], next_cursor=story.CURSOR),
    package_health.CheckPackageHealth(package=story.PACKAGE, version=story.VERSION),
    package_health.PackageHealth(
        package=story.PACKAGE,
        version=story.VERSION,
        status="degraded",
        schema_ok=True,
        tools={"files": True, "models": False},
        model_reachable=False,
        last_success_at=story.FINISHED_AT,
        success_rate=Decimal("0.98"),
    ),
)

FILE = files.File(
    id=story.CLEANED,
    tenant=story.TENANT,
    name="orders-clean.csv",
    size=182_044,
    sha256=story.SHA256,
    content_type="text/csv",
    created_at=story.FINISHED_AT,
    expires_at=story.FINISHED_AT + timedelta(days=30),
    run=story.RUN,
)
FILES: tuple[msgspec.Struct, ...] = (
    files.RegisterFile(
        file=story.UPLOADED,
        tenant=story.TENANT,
        name="orders.csv",
        size=190_311,
        sha256=story.SHA256,
        content_type="text/csv",
    ),
    files.GetFile(file=story.UPLOADED, tenant=story.TENANT),
    files.ListFiles(tenant=story.TENANT, run=story.RUN, cursor=story.CURSOR, limit=20),
    files.DeleteFile(file=story.UPLOADED, tenant=story.TENANT),
    FILE,
    files.FilePage(items=[FILE], used_bytes=372_355, quota_bytes=1_073_741_824, next_cursor=story.CURSOR),
)

EXAMPLES = (*EVENTS, *RUNS, *DEPLOYMENTS, *FILES)
