"""The scenario's routes on Flask, with Flask-Session in Redis (redis-py 8, RESP3).

Environment: PORT, REDIS_PORT, TTL in seconds.
"""

import os
from datetime import timedelta
from functools import wraps

from flask import Flask, jsonify, request, session
from flask_session import Session
from redis import Redis
from waitress import serve

app = Flask(__name__)
app.config.update(
    SESSION_TYPE="redis",
    SESSION_REDIS=Redis(host="127.0.0.1", port=int(os.environ["REDIS_PORT"])),
    PERMANENT_SESSION_LIFETIME=timedelta(seconds=int(os.environ["TTL"])),
)
Session(app)


def needs_user(view):
    """Answers 401 unless the session belongs to a user."""

    @wraps(view)
    def guarded():
        if "user" not in session:
            return jsonify(user=None), 401
        return view()

    return guarded


@app.post("/login")
def login():
    session["user"] = request.args["user"]
    app.session_interface.regenerate(session)
    return jsonify(user=session["user"])


@app.get("/whoami")
def whoami():
    return jsonify(user=session.get("user"), data=session.get("data", {}))


@app.post("/set")
@needs_user
def set_value():
    session["data"] = session.get("data", {}) | {request.args["k"]: request.args["v"]}
    return jsonify(data=session["data"])


@app.get("/touch")
@needs_user
def touch():
    # SESSION_REFRESH_EACH_REQUEST, Flask's default, stores the session again.
    return jsonify(user=session["user"])


@app.post("/regenerate")
@needs_user
def regenerate():
    app.session_interface.regenerate(session)
    return jsonify(user=session["user"])


@app.post("/logout")
def logout():
    session.clear()
    return jsonify(user=None)


if __name__ == "__main__":
    serve(app, host="127.0.0.1", port=int(os.environ["PORT"]))
