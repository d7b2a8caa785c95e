"""What a message on `user-change` must be, checked message by message.

Needs no broker: `consume.py` reads, this judges. Every problem becomes one line of text; none stops the rest.
"""

import json
import re
from dataclasses import dataclass

from partitioner import partition_for

SALESFORCE_ID = re.compile(r"^[A-Za-z0-9]{18}$")
# RFC 3339, in UTC as the contract demands.
TIME = re.compile(
    r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?(Z|\+00:00)$"
)
ABSOLUTE_URI = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:[^\s]+$")


@dataclass(frozen=True)
class Message:
    """A record as it was read."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]


class Checker:
    """Judges the messages of a topic in the order of each partition."""

    def __init__(self, partitions: int, validator=None):
        self._partitions = partitions
        self._validator = validator
        self._versions: dict[str, int] = {}
        self.errors: list[str] = []
        self.messages = 0

    @property
    def users(self) -> int:
        return len(self._versions)

    def check(self, message: Message) -> None:
        self.messages += 1
        place = f"partition {message.partition} offset {message.offset}"
        self.errors.extend(f"{place}: {problem}" for problem in self._problems(message))

    def _problems(self, message: Message):
        if message.key is None:
            yield "no key"
            return
        try:
            key = message.key.decode("ascii")
        except UnicodeDecodeError:
            yield "the key is not plain text"
            return
        expected = partition_for(message.key, self._partitions)
        if message.partition != expected:
            yield f"key {key} belongs to partition {expected} by murmur2"
        if message.value is None:
            # A tombstone: the person was erased. It has no body and ends the count of versions.
            self._versions.pop(key, None)
            return
        try:
            body = json.loads(message.value)
        except ValueError as error:
            yield f"the value is not JSON: {error}"
            return
        if self._validator is not None:
            for problem in self._validator.iter_errors(body):
                yield f"schema: {problem.json_path}: {problem.message}"
        if not isinstance(body, dict) or not isinstance(body.get("user"), dict):
            yield "the body has no user"
            return
        yield from self._key_problems(key, body["user"])
        yield from header_problems(message.headers, key, body)
        yield from self._version_problems(key, body.get("version"))

    def _key_problems(self, key: str, user: dict):
        org, _, user_id = key.partition(":")
        if not SALESFORCE_ID.match(org) or not SALESFORCE_ID.match(user_id):
            yield f"key {key} is not <orgId18>:<userId18>"
        if (org, user_id) != (user.get("orgId"), user.get("id")):
            yield f"key {key} is not that of the body, {user.get('orgId')}:{user.get('id')}"

    def _version_problems(self, key: str, version):
        # True is an int in Python, but not a version.
        if not isinstance(version, int) or isinstance(version, bool):
            yield f"version {version!r} is not a number"
            return
        before = self._versions.get(key)
        self._versions[key] = version
        if before is not None and version != before + 1:
            yield f"version {version} of {key} follows {before}"
        if before is None and version < 1:
            yield f"version {version} of {key} is below 1"


def header_problems(headers: dict[str, str], key: str, body: dict):
    """CloudEvents 1.0 in binary mode, with the attributes that the contract fixes."""
    org, _, user_id = key.partition(":")
    fixed = {
        "ce_specversion": "1.0",
        "ce_id": f"{key}:{body.get('version')}",
        "ce_source": f"/salesforce/{org}",
        "ce_type": f"dev.usher.user.{body.get('kind')}.v1",
        "ce_subject": user_id,
        "content-type": "application/json",
    }
    for name, expected in fixed.items():
        found = headers.get(name)
        if found != expected:
            yield f"header {name} is {found!r}, not {expected!r}"
    for name, pattern, meaning in (
        ("ce_time", TIME, "an RFC 3339 time in UTC"),
        ("ce_dataschema", ABSOLUTE_URI, "an absolute URI"),
    ):
        found = headers.get(name)
        if found is None or not pattern.match(found):
            yield f"header {name} is {found!r}, not {meaning}"
