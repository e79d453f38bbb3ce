"""What may happen on a demonstrated day beside the plan."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from daemon.simulation.day import HOST, PORT, Scenario, Stage
from daemon.simulation.foreign import occupy


async def collision(stage: Stage) -> None:
    """Let another client hold our id at the close, as on 2026-02-19 (A1).

    Two minutes before the close job the gateway cuts our connection, and a foreign
    script takes the id before we are back; it leaves ninety seconds into the job.
    """
    client_id = stage.config.gateway.client_id
    await stage.until(stage.session.close - timedelta(minutes=22))
    stage.gateway.drop(client_id)
    foreign = await occupy(HOST, PORT, client_id)
    await stage.until(stage.session.close - timedelta(minutes=18, seconds=30))
    foreign.leave()


SCENARIOS: Mapping[str, Scenario] = {"collision": collision}
