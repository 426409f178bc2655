"""The scenario's routes on Starlette, with starsessions in Redis (redis-py 8 asyncio, RESP3).

Environment: PORT, REDIS_PORT, TTL in seconds.
"""

import os

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.session import get_session_handler
from starsessions.stores.redis import RedisStore


def needs_user(view):
    """Answers 401 unless the session belongs to a user."""

    async def guarded(request):
        if "user" not in request.session:
            return JSONResponse({"user": None}, status_code=401)
        return await view(request)

    return guarded


async def new_id(request):
    """Changes the id. starsessions leaves the old entry in the store, so that is removed first."""
    handler = get_session_handler(request)
    await handler.destroy()
    handler.regenerate_id()


async def login(request):
    await new_id(request)
    request.session["user"] = request.query_params["user"]
    return JSONResponse({"user": request.session["user"]})


async def whoami(request):
    return JSONResponse({"user": request.session.get("user"), "data": request.session.get("data", {})})


@needs_user
async def set_value(request):
    query = request.query_params
    request.session["data"] = request.session.get("data", {}) | {query["k"]: query["v"]}
    return JSONResponse({"data": request.session["data"]})


@needs_user
async def touch(request):
    # `rolling` stores the session again with a full time to live.
    return JSONResponse({"user": request.session["user"]})


@needs_user
async def regenerate(request):
    await new_id(request)
    return JSONResponse({"user": request.session["user"]})


async def logout(request):
    request.session.clear()
    return JSONResponse({"user": None})


store = RedisStore(connection=Redis(host="127.0.0.1", port=int(os.environ["REDIS_PORT"])))
app = Starlette(
    routes=[
        Route("/login", login, methods=["POST"]),
        Route("/whoami", whoami),
        Route("/set", set_value, methods=["POST"]),
        Route("/touch", touch),
        Route("/regenerate", regenerate, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
    ],
    middleware=[
        Middleware(
            SessionMiddleware,
            store=store,
            lifetime=int(os.environ["TTL"]),
            rolling=True,
            cookie_https_only=False,
        ),
        Middleware(SessionAutoloadMiddleware),
    ],
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
