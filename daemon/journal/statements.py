"""The journal's SQL, built once; SQLAlchemy compiles each on its first use."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import (
    ColumnElement,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from daemon.journal.schema import (
    acceptances,
    claims,
    commissions,
    deliveries,
    events,
    executions,
    intents,
    messages,
    order_states,
    plan_rows,
    runs,
    stored,
)

COUNT_RUNS = (
    select(func.count())
    .select_from(runs)
    .where(runs.c.session == bindparam("session"), runs.c.job == bindparam("job"))
)

START_RUN = insert(runs)

END_OPEN_RUNS = (
    update(runs)
    .where(runs.c.ended_at.is_(None))
    .values(
        ended_at=bindparam("ended_at"),
        outcome=bindparam("outcome"),
        summary=bindparam("summary"),
        detail=bindparam("detail"),
    )
)

END_RUN = END_OPEN_RUNS.where(runs.c.run_id == bindparam("open_run"))

ENDED_RUNS = select(runs).where(
    runs.c.session == bindparam("session"), runs.c.ended_at.is_not(None)
)

CLAIM = upsert(claims).on_conflict_do_nothing()

INTEND = insert(intents)

INTENDED_AMONG = select(intents.c.order_ref).where(
    intents.c.order_ref.in_(bindparam("refs", expanding=True))
)

ADD_STATE = insert(order_states)

_LATEST_STATE = (
    select(func.max(order_states.c.id))
    .where(order_states.c.order_ref == intents.c.order_ref)
    .correlate(intents)
    .scalar_subquery()
)

ORDERS = (
    select(
        intents,
        order_states.c.state,
        order_states.c.perm_id,
        order_states.c.filled,
        order_states.c.remaining,
        order_states.c.code,
        order_states.c.text,
    )
    .select_from(
        intents.outerjoin(order_states, order_states.c.id == _LATEST_STATE),
    )
    .where(intents.c.session == bindparam("session"))
    .order_by(intents.c.order_id)
)

HIGHEST_ORDER_ID = select(func.coalesce(func.max(intents.c.order_id), 0))

HIGHEST_KNOWN_ID = select(func.coalesce(func.max(intents.c.order_id), 0)).where(
    exists().where(
        order_states.c.order_ref == intents.c.order_ref, order_states.c.perm_id > 0
    )
)

ADD_EVENT = insert(events)

ADD_FILL = upsert(executions).on_conflict_do_nothing()

FILLS = select(executions).where(
    executions.c.exec_key.in_(
        select(executions.c.exec_key).where(
            executions.c.time >= bindparam("since"),
            executions.c.time < bindparam("until"),
        )
    )
)
"""Every revision of each execution of which one lies in the interval."""


def _tells_more(
    new: ColumnElement[Decimal], old: ColumnElement[Decimal]
) -> ColumnElement[bool]:
    """Return the condition that *new* is known and not what was known before."""
    return new.is_not(None) & new.is_distinct_from(old)


_NEW = upsert(commissions)
ADD_COMMISSION = _NEW.on_conflict_do_update(
    index_elements=[commissions.c.exec_id],
    set_={
        "amount": func.coalesce(_NEW.excluded.amount, commissions.c.amount),
        "realized_pnl": func.coalesce(
            _NEW.excluded.realized_pnl, commissions.c.realized_pnl
        ),
        "currency": _NEW.excluded.currency,
        "recorded_at": _NEW.excluded.recorded_at,
    },
    where=or_(
        _tells_more(_NEW.excluded.amount, commissions.c.amount),
        _tells_more(_NEW.excluded.realized_pnl, commissions.c.realized_pnl),
    ),
)
"""A report that tells nothing new changes nothing, not even `recorded_at`."""

COMMISSIONS = select(commissions).where(
    commissions.c.exec_id.in_(bindparam("exec_ids", expanding=True))
)

_ROW = upsert(plan_rows)
PUT_ROW = _ROW.on_conflict_do_update(
    index_elements=[plan_rows.c.session, plan_rows.c.line],
    set_={
        "symbol": _ROW.excluded.symbol,
        "status": _ROW.excluded.status,
        "reason": _ROW.excluded.reason,
        "at": _ROW.excluded.at,
    },
)

ROWS = (
    select(plan_rows)
    .where(plan_rows.c.session == bindparam("session"))
    .order_by(plan_rows.c.line)
)

_VALUE = upsert(stored)
PUT_VALUE = _VALUE.on_conflict_do_update(
    index_elements=[stored.c.key],
    set_={"value": _VALUE.excluded.value, "at": _VALUE.excluded.at},
)

VALUE = select(stored.c.value).where(stored.c.key == bindparam("key"))

ADD_MESSAGE = (
    upsert(messages)
    .on_conflict_do_nothing(
        index_elements=[messages.c.key], index_where=messages.c.key != ""
    )
    .returning(messages.c.number)
)
"""Returns no row where the key is known."""

MESSAGE_NUMBER = select(messages.c.number).where(messages.c.key == bindparam("key"))

ACCEPT = upsert(acceptances).on_conflict_do_nothing()

END_WAIT = upsert(deliveries).on_conflict_do_nothing()

UNDELIVERED = (
    select(messages)
    .select_from(messages.outerjoin(deliveries))
    .where(deliveries.c.number.is_(None))
    .order_by(messages.c.number)
)
