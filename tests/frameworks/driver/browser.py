"""A browser reduced to what sessions need: requests and cookies.

Cookies keep being sent after their Max-Age has passed, so that a test can show that it is the store
that forgot a session and not the browser.
"""

import http.client
import json
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlencode


class Answer:
    """Status, decoded JSON body (None if it is none) and the raw text of a response."""

    def __init__(self, status, text):
        self.status = status
        self.text = text
        try:
            self.body = json.loads(text)
        except ValueError:
            self.body = None


class Browser:
    """One visitor, who may call any clone of an application: cookies do not know ports."""

    def __init__(self, cookies=()):
        self.cookies = dict(cookies)

    def copy(self):
        """A second browser that has stolen (or remembers) this one's cookies."""
        return Browser(self.cookies)

    def get(self, port, path):
        return self._request("GET", port, path)

    def post(self, port, path, **query):
        return self._request("POST", port, f"{path}?{urlencode(query)}" if query else path)

    def _request(self, method, port, target):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            headers = {"Connection": "close", "Content-Length": "0"}
            if self.cookies:
                headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
            for line in response.headers.get_all("Set-Cookie") or []:
                self._keep(line)
            return Answer(response.status, text)
        finally:
            connection.close()

    def _keep(self, line):
        pair, *attributes = [part.strip() for part in line.split(";")]
        name, _, value = pair.partition("=")
        if _is_removal(attributes):
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


def _is_removal(attributes):
    """Whether a cookie is sent only to be forgotten: its life has ended already."""
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        if name.lower() == "max-age":
            return int(value) <= 0
        if name.lower() == "expires":
            return parsedate_to_datetime(value) < datetime.now(timezone.utc)
    return False
