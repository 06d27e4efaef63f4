"""Generates the table of routes and protocols in docs/security.md.

`python -m support.security_doc` writes it (`make fix` runs it); a test compares it.
"""

from itertools import groupby

from api_gateway.doors.table import DOORS, WebSocketDoor
from api_gateway.permissions import ROUTES, Rule, door_rule
from support.settings_doc import ROOT

PAGE = ROOT / "docs" / "security.md"
HEADING = "## Routes and protocols\n"


def _row(where: str, rule: Rule) -> str:
    needs = "public" if rule.needs == "public" else f"`{rule.needs}`"
    own = f", or `{rule.own}` for one's own" if rule.own else ""
    return f"| {where} | {needs}{own} | {rule.door} |"


def table() -> str:
    """The table, in Markdown."""
    lines = ["| route or protocol | needs | door |", "|---|---|---|"]
    lines += [
        _row(", ".join(f"`WS {path}`" for path in door.paths), door_rule(door.name))
        for door in DOORS
        if isinstance(door, WebSocketDoor)
    ]
    for _, rules in groupby(ROUTES.items(), key=lambda item: (item[0].partition(" ")[2], item[1])):
        group = list(rules)
        methods = ", ".join(route.partition(" ")[0] for route, _ in group)
        path = group[0][0].partition(" ")[2]
        lines.append(_row(f"`{methods} {path}`", group[0][1]))
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with the table of the code."""
    before, heading, after = PAGE.read_text().partition(HEADING)
    introduction = after.partition("| route or protocol")[0]
    return f"{before}{heading}{introduction}{table()}"


if __name__ == "__main__":
    PAGE.write_text(page())
