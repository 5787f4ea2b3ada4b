"""Every endpoint of the API's public description has a handler here, and no handler is of none."""

from __future__ import annotations

import pytest

from swarmlite.gateway import app

OF_CONTAINERS = """
    GET archive changes export json logs stats top attach/ws
    HEAD archive
    PUT archive
    POST attach exec kill pause rename resize restart start stop unpause update wait
"""
LISTED = """
    GET /_ping /version /info /events /system/df /containers/json /images/json /images/get
    GET /images/search /networks /volumes /plugins /plugins/privileges
    GET /swarm /swarm/unlockkey /nodes /services /tasks /secrets /configs
    GET /distribution/{name}/json /exec/{name}/json /networks/{name} /volumes/{name}
    GET /images/{name}/get /images/{name}/history /images/{name}/json /images/{name}/attestations
    GET /nodes/{name} /services/{name} /services/{name}/logs /tasks/{name} /tasks/{name}/logs
    GET /secrets/{name} /configs/{name} /plugins/{name}/json
    HEAD /_ping
    POST /auth /build /build/prune /commit /session
    POST /containers/create /containers/prune /exec/{name}/resize /exec/{name}/start
    POST /images/create /images/load /images/prune /images/{name}/push /images/{name}/tag
    POST /networks/create /networks/prune /networks/{name}/connect /networks/{name}/disconnect
    POST /volumes/create /volumes/prune
    POST /swarm/init /swarm/join /swarm/leave /swarm/unlock /swarm/update
    POST /nodes/{name}/update /services/create /services/{name}/update
    POST /secrets/create /secrets/{name}/update /configs/create /configs/{name}/update
    POST /plugins/create /plugins/pull /plugins/{name}/disable /plugins/{name}/enable
    POST /plugins/{name}/push /plugins/{name}/set /plugins/{name}/upgrade
    PUT /volumes/{name}
    DELETE /containers/{name} /images/{name} /networks/{name} /volumes/{name} /nodes/{name}
    DELETE /services/{name} /secrets/{name} /configs/{name} /plugins/{name}
"""
"""Of the descriptions of 1.24 to 1.55: a method, and its paths."""

UNDESCRIBED = {
    ("POST", "/build/cancel"),
    ("POST", "/grpc"),
    ("DELETE", "/containers/x/x"),
    ("POST", "/swarmlite/x"),
}
"""Known to Docker's engine, or ours."""


def endpoints() -> list[tuple[str, str]]:
    """(method, path) with `x` for what is named."""
    found = []
    for table, prefix in ((LISTED, ""), (OF_CONTAINERS, "/containers/x/")):
        for line in table.strip().splitlines():
            method, *paths = line.split()
            found += [(method, prefix + path.replace("{name}", "x")) for path in paths]
    return found


def answering(method: str, path: str) -> list[app.Handler]:
    """The first of them answers."""
    segment = path.lstrip("/").partition("/")[0]
    return [
        handler
        for verb, pattern, handler in app.routes(segment)
        if verb == method and pattern.fullmatch(path)
    ]


def test_the_list_is_whole_and_names_each_once() -> None:
    assert len(endpoints()) == len(set(endpoints())) == 108


@pytest.mark.parametrize(("method", "path"), endpoints())
def test_an_endpoint_has_a_handler(method: str, path: str) -> None:
    assert answering(method, path)


def test_no_endpoint_is_answered_that_is_in_no_list() -> None:
    known = {*endpoints(), *UNDESCRIBED}
    firsts = {answering(method, path)[0] for method, path in known if answering(method, path)}
    for segment in app.GROUPS:
        for method, pattern, handler in app.routes(segment):
            assert handler in firsts, f"{method} {pattern.pattern}"
