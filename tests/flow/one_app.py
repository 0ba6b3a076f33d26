"""The API over given services, its routes built once a process: a test that makes an app of its own pays anew."""

import copy

from fastapi import FastAPI
from starlette.datastructures import State

from archive_service.api.app import create_app
from archive_service.api.metrics import RequestCounter
from archive_service.api.services import ApiServices

_made: list[FastAPI] = []


def app_over(services: ApiServices) -> FastAPI:
    """An app with state of its own and the routes of all. Who adds routes makes one with ``create_app``."""
    if not _made:
        _made.append(create_app(services))
    app = copy.copy(_made[0])
    app.state = State({"services": services, "counter": RequestCounter()})
    app.middleware_stack = None
    return app
