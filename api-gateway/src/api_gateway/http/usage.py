"""Usage of owners per day, as JSON or CSV."""

from datetime import date, timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from api_gateway.auth import Principal
from api_gateway.dependencies import PrincipalDep, Services, ServicesDep
from api_gateway.http.owner_ids import prefix_of_named
from api_gateway.limits.service import document_of
from api_gateway.presenters.usage import amounts, as_csv, rows
from parlando.domain.access import Scope
from parlando.errors import ForbiddenError, InvalidRequestError
from parlando.store.held import Holder
from parlando.store.usage import DayUsage, Used
from parlando.store.usage_keys import today

EVERYBODY: Final = "*"
MAX_ROWS: Final = 50_000
"""Most rows of an answer: owners times days."""

router = APIRouter(prefix="/v1/usage", tags=["usage"])

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/csv": {}}},
    400: {"description": "The owner is invalid, or the range of days is empty or has too many rows"},
    401: {"description": "Missing or invalid API key"},
    403: {"description": "Usage of other owners needs a key with the scope admin"},
    503: {"description": "Redis can't be reached"},
}


@router.get("", responses=_RESPONSES)
async def usage(
    caller: PrincipalDep,
    services: ServicesDep,
    first: Annotated[
        date | None,
        Query(alias="from", description="First day, UTC; if none, the first of the month of `to`"),
    ] = None,
    last: Annotated[date | None, Query(alias="to", description="Last day, UTC; if none, today")] = None,
    owner: Annotated[
        str | None,
        Query(
            min_length=1,
            max_length=100,
            description="Another owner, by name or digits, or `*` for all; needs the scope `admin`",
        ),
    ] = None,
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> Response:
    """Seconds of audio, sessions, jobs, tokens of language models and costs, in total and per day.

    Days without usage have no row. Usage is counted with the result that it belongs to. `limits` has the
    limits of the owner, and of the key that asks, with what is used of them now.
    """
    last = last or today()
    first = first or last.replace(day=1)
    if first > last:
        raise InvalidRequestError(f"from: expected a day up to {last}, but got {first}")
    who = _owner(owner, caller)
    found = await services.usage.days(
        *with_counters(first, last, kept_days=services.settings.usage_days), owner=who
    )
    if len(found) > MAX_ROWS:
        raise InvalidRequestError(
            f"The answer would have {len(found)} rows, and {MAX_ROWS} is the maximum; ask for fewer days"
        )
    price = services.settings.price_per_hour_usd
    days = rows(found, price, (await _names(services, caller, who)).get)
    if form == "csv":
        name = f"usage-{first}-{last}.csv"
        return Response(
            as_csv(days),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
    return JSONResponse(
        {
            "from": first.isoformat(),
            "to": last.isoformat(),
            "owner": EVERYBODY if who is None else who[:16],
            "price_per_hour_usd": price,
            "total": amounts(_sum(found), price),
            "days": days,
            **await _limits(services, caller, who),
        }
    )


def _owner(asked: str | None, caller: Principal) -> str | None:
    """The owner whose usage is asked for: the caller's fingerprint, digits of another's, or None for all."""
    own = caller.owner[:16]
    who = own if asked is None else None if asked == EVERYBODY else prefix_of_named(asked, own)
    if who == own:
        return caller.owner
    if Scope.ADMIN not in caller.scopes:
        raise ForbiddenError("This key lacks the scope admin, which the usage of other owners needs")
    return who


async def _limits(services: Services, caller: Principal, who: str | None) -> dict[str, Any]:
    """The limits of an owner, and of the caller's key if it is its own, with what is used of them now."""
    if who is None:
        return {}
    holder = caller.holder if who == caller.owner else Holder(who)
    return {"limits": document_of(await services.limits.report(holder))}


def with_counters(first: date, last: date, *, kept_days: int) -> tuple[date, date]:
    """The days of a range that can have counters; another gateway's day may have begun already."""
    now = today()
    return max(first, now - timedelta(days=kept_days + 1)), min(last, now + timedelta(days=1))


async def _names(services: Services, caller: Principal, who: str | None) -> dict[str, str]:
    """Names of owners by the first 16 digits of their fingerprints; those of API_KEYS have none."""
    if who == caller.owner:
        return {who[:16]: caller.owner_name} if caller.owner_name else {}
    return await services.owners.names()


def _sum(found: list[DayUsage]) -> Used:
    return sum((row.used for row in found), Used())
