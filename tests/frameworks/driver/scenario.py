"""What every session stack must do over the store, written once.

A case is a method whose name starts with `case_`; the first line of its text is its name in the
report. Each case begins with an empty store and logs in for itself, so none depends on another. No
case waits a fixed time: what takes time is awaited with a deadline.
"""

import threading
import time

from .browser import Browser
from .processes import Failure, wait_until

# A session's life in seconds, for the two clones and for the one that shows how it ends.
LONG_TTL = 600
SHORT_TTL = 2


class Scenario:
    """The cases of one stack. `a` and `b` are the clones' ports, `brief` is the short-lived one's."""

    def __init__(self, store, a, b, brief, protocol):
        self.store = store
        self.a = a
        self.b = b
        self.brief = brief
        self.protocol = protocol

    @classmethod
    def cases(cls):
        """The cases' names and methods, a base class's first, in the order of the source."""
        methods = {}
        for owner in reversed(cls.__mro__):
            for name, method in vars(owner).items():
                if name.startswith("case_"):
                    methods[name] = method
        return [(method.__doc__.splitlines()[0].rstrip("."), method) for method in methods.values()]

    # What the cases are made of.

    def login(self, port, user="alice", browser=None):
        browser = browser or Browser()
        accept(browser.post(port, "/login", user=user))
        assert len(browser.cookies) == 1, f"expected one cookie after the login, got {browser.cookies}"
        return browser

    def expect_user(self, browser, port, user, data=None):
        answer = accept(browser.get(port, "/whoami"))
        assert answer["user"] == user, f"expected user {user!r}, the session says {answer}"
        if data is not None:
            assert answer["data"] == data, f"expected data {data!r}, the session says {answer}"

    def expect_anonymous(self, browser, port):
        answer = browser.copy().get(port, "/whoami")
        assert answer.status == 200 and answer.body["user"] is None, f"still served as {answer.text}"

    def expect_full_ttl(self, key):
        ttl = self.store.command("TTL", key)
        assert LONG_TTL - 30 <= ttl <= LONG_TTL, f"TTL {ttl}, expected about {LONG_TTL}"

    # The cases.

    def case_login(self):
        """log in: one key with a full TTL"""
        self.login(self.a)
        self.expect_full_ttl(self.store.only_key())

    def case_read_on_clone(self):
        """read the session on the other clone"""
        browser = self.login(self.a)
        self.expect_user(browser, self.b, "alice")
        key = self.store.only_key()
        accept(browser.post(self.a, "/set", k="color", v="green"))
        self.expect_user(browser, self.b, "alice", {"color": "green"})
        accept(browser.post(self.b, "/set", k="size", v="10"))
        self.expect_user(browser, self.a, "alice", {"color": "green", "size": "10"})
        assert self.store.only_key() == key, "a write moved the session to another key"

    def case_exact_text(self):
        """values come back exactly"""
        browser = self.login(self.a)
        value = "\u00e9\u2603\U0001f511 \"quoted\" \\ line\r\nline\ttab " + "x" * 3000
        accept(browser.post(self.a, "/set", k="text", v=value))
        self.expect_user(browser, self.b, "alice", {"text": value})

    def case_write_together(self):
        """write one session from both clones at once"""
        browser = self.login(self.a)
        rounds = 20

        def write(port, name):
            own = browser.copy()
            for count in range(rounds):
                accept(own.post(port, "/set", k="last", v=f"{name}{count}"))

        at_once([lambda: write(self.a, "a"), lambda: write(self.b, "b")])
        # A session is stored whole, so one clone's last write wins; which one is a matter of luck.
        last = accept(browser.get(self.a, "/whoami"))["data"]["last"]
        assert last in (f"a{rounds - 1}", f"b{rounds - 1}"), f"the last value is {last!r}"
        self.expect_user(browser, self.b, "alice", {"last": last})
        self.expect_full_ttl(self.store.only_key())

    def case_many_visitors(self):
        """many visitors on both clones do not mix"""
        visitors = 24

        def visit(number):
            here, there = (self.a, self.b) if number % 2 else (self.b, self.a)
            browser = self.login(here, f"user{number}")
            accept(browser.post(there, "/set", k="number", v=str(number)))
            self.expect_user(browser, here, f"user{number}", {"number": str(number)})

        at_once([lambda number=number: visit(number) for number in range(visitors)])
        keys = self.store.keys()
        assert len(keys) == visitors, f"{visitors} visitors left {len(keys)} keys"

    def case_touch(self):
        """touch: the TTL slides, the data stays"""
        browser = self.login(self.a)
        accept(browser.post(self.a, "/set", k="color", v="green"))
        key = self.store.only_key()
        assert self.store.command("EXPIRE", key, 60) == 1
        accept(browser.get(self.b, "/touch"))
        assert self.store.only_key() == key, "the touch moved the session to another key"
        self.expect_full_ttl(key)
        self.expect_user(browser, self.a, "alice", {"color": "green"})

    def case_regenerate(self):
        """regenerate the id: the old one is dead, the data stays"""
        browser = self.login(self.a)
        accept(browser.post(self.a, "/set", k="color", v="green"))
        thief, old_key = browser.copy(), self.store.only_key()
        accept(browser.post(self.b, "/regenerate"))
        assert browser.cookies != thief.cookies, "the cookie kept its value"
        new_key = self.store.only_key()
        assert new_key != old_key, "the session kept its key"
        self.expect_full_ttl(new_key)
        for port in (self.a, self.b):
            self.expect_user(browser, port, "alice", {"color": "green"})
            self.expect_anonymous(thief, port)
        assert self.store.only_key() == new_key, "asking with the old id brought a key back"

    def case_fixation(self):
        """log in under a planted id: a fresh id is given"""
        planted = self.login(self.a, "mallory")
        planted_key = self.store.only_key()
        victim = self.login(self.b, "alice", planted.copy())
        assert victim.cookies != planted.cookies, "the login kept the planted cookie"
        assert planted_key not in self.store.keys(), "the planted key outlived the login"
        self.expect_user(victim, self.a, "alice")
        self.expect_anonymous(planted, self.a)

    def case_logout(self):
        """log out: the key is gone, the cookie is dead"""
        browser = self.login(self.a)
        self.store.only_key()
        thief = browser.copy()
        accept(browser.post(self.b, "/logout"))
        assert self.store.keys() == [], f"the logout left {self.store.keys()}"
        for port in (self.a, self.b):
            self.expect_anonymous(thief, port)
            answer = thief.copy().get(port, "/touch")
            assert answer.status == 401, f"the dead cookie could touch: {answer.status} {answer.text}"
        assert self.store.keys() == [], "the dead cookie brought a key back"

    def case_expiry(self):
        """wait for expiry: not early, then gone everywhere"""
        browser = self.login(self.brief)
        self.expect_user(browser, self.brief, "alice")
        key = self.store.only_key()
        asked = time.monotonic()
        left = self.store.command("PTTL", key)
        assert 0 < left <= SHORT_TTL * 1000, f"PTTL {left}, expected at most {SHORT_TTL} s"
        wait_until(lambda: self.store.command("EXISTS", key) == 0, SHORT_TTL + 3, "the key's end")
        lived = (time.monotonic() - asked) * 1000
        assert lived >= left - 2, f"the key was gone after {lived:.0f} ms of {left}"
        self.expect_anonymous(browser, self.brief)
        assert self.store.keys() == [], "an expired session left a key"


class KeptConnections(Scenario):
    """For the stacks whose applications keep connections to the store from request to request."""

    def case_reconnect(self):
        """the store drops every connection: both clones recover"""
        browser = self.login(self.a)
        self.expect_user(browser, self.b, "alice")
        self.store.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        for port in (self.a, self.b):
            wait_until(lambda: served(browser, port, "alice"), 10, "the session after the drop")

    def case_protocol(self):
        """the client speaks the protocol version it should"""
        self.expect_user(self.login(self.a), self.b, "alice")
        own = self.store.command("CLIENT", "ID")
        versions = {}
        for line in self.store.command("CLIENT", "LIST").decode().splitlines():
            fields = dict(field.partition("=")[::2] for field in line.split())
            if int(fields["id"]) != own:
                versions[fields["addr"]] = fields["resp"]
        assert versions, "no connection from the applications is listed"
        assert set(versions.values()) == {str(self.protocol)}, f"expected RESP{self.protocol}: {versions}"


class ExpressScenario(KeptConnections):
    """connect-redis can also list what it keeps, which walks the keys with SCAN and MGET."""

    def case_listing(self):
        """the store lists, counts and clears its sessions"""
        users = sorted(f"user{number}" for number in range(30))
        for number, user in enumerate(users):
            self.login(self.a if number % 2 else self.b, user)
        self.store.command("SET", "unrelated", "kept")
        for port in (self.a, self.b):
            listing = accept(Browser().get(port, "/store"))
            assert listing["length"] == len(users), f"length is {listing['length']}"
            assert len(set(listing["ids"])) == len(users), f"ids are {listing['ids']}"
            assert sorted(listing["users"]) == users, f"all are {listing['users']}"
        accept(Browser().post(self.a, "/store/clear"))
        assert self.store.keys() == [b"unrelated"], f"clear left {self.store.keys()}"


class WriteThroughScenario(KeptConnections):
    """Django's `cached_db` keeps a row in its database below the key in the store."""

    def case_lost_key(self):
        """a lost key is filled again from the database"""
        browser = self.login(self.a)
        key = self.store.only_key()
        self.store.command("DEL", key)
        self.expect_user(browser, self.b, "alice")
        assert self.store.only_key() == key
        self.expect_full_ttl(key)


def accept(answer):
    """The decoded body of an answer that must be a success."""
    assert answer.status == 200 and answer.body is not None, f"HTTP {answer.status}: {answer.text[:300]}"
    return answer.body


def served(browser, port, user):
    """Whether the clone serves the session again; errors on the way there are its own affair."""
    try:
        answer = browser.get(port, "/whoami")
    except OSError:
        return False
    return answer.status == 200 and answer.body["user"] == user


def at_once(jobs, seconds=60):
    """Runs the jobs in threads of their own and raises the first error of any."""
    errors = []

    def guarded(job):
        try:
            job()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            raise Failure(f"requests made at once did not end within {seconds} s")
    if errors:
        raise errors[0]
