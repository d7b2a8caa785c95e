"""The checks find what they are there for: `python -m unittest discover tests/contract-consumer`."""

import copy
import json
import unittest

from checks import ABSOLUTE_URI, TIME, Checker, Message
from partitioner import murmur2, partition_for

ORG, USER = "00D000000000001AAA", "005000000000001AAA"
KEY = f"{ORG}:{USER}"
PARTITIONS = 12


def body(version=1, kind="created"):
    return {"version": version, "kind": kind, "user": {"id": USER, "orgId": ORG}}


def message(content=None, **changes):
    content = body() if content is None else content
    headers = {
        "ce_specversion": "1.0",
        "ce_id": f"{KEY}:{content['version']}",
        "ce_source": f"/salesforce/{ORG}",
        "ce_type": f"dev.usher.user.{content['kind']}.v1",
        "ce_subject": USER,
        "ce_time": "2026-03-01T10:00:00.5Z",
        "ce_dataschema": "https://example.org/user-change/v1.json",
        "content-type": "application/json",
    }
    headers.update(changes.pop("headers", {}))
    fields = {
        "partition": partition_for(KEY.encode(), PARTITIONS),
        "offset": 0,
        "key": KEY.encode(),
        "value": json.dumps(content).encode(),
        "headers": headers,
    }
    return Message(**{**fields, **changes})


def errors(*messages, validator=None):
    checker = Checker(PARTITIONS, validator)
    for each in messages:
        checker.check(each)
    return checker.errors


class Murmur2(unittest.TestCase):
    def test_known_values_of_kafka_itself(self):
        # From org.apache.kafka.common.utils.UtilsTest, there as signed numbers.
        for text, signed in {
            "21": -973932308,
            "foobar": -790332482,
            "a-little-bit-long-string": -985981536,
            "a-little-bit-longer-string": -1486304829,
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
            "abc": 479470107,
        }.items():
            self.assertEqual(murmur2(text.encode()), signed & 0xFFFFFFFF, text)

    def test_partitions_are_in_range(self):
        self.assertTrue(all(0 <= partition_for(str(n).encode(), 12) < 12 for n in range(1000)))


class Messages(unittest.TestCase):
    def assert_one(self, found, part):
        self.assertEqual(len(found), 1, found)
        self.assertIn(part, found[0])

    def test_a_correct_message_has_no_problem(self):
        self.assertEqual(errors(message()), [])

    def test_versions_rise_by_exactly_one_per_key(self):
        self.assertEqual(errors(message(body(4)), message(body(5))), [])
        self.assert_one(errors(message(body(4)), message(body(6))), "follows 4")
        self.assert_one(errors(message(body(4)), message(body(4))), "follows 4")
        self.assert_one(errors(message(body(0))), "below 1")

    def test_a_tombstone_ends_the_count(self):
        erased = message(value=None, headers={})
        checker = Checker(PARTITIONS)
        for each in (message(body(4)), erased, message(body(1))):
            checker.check(each)
        self.assertEqual((checker.errors, checker.users, checker.messages), ([], 1, 3))

    def test_each_wrong_header_is_named(self):
        for name, value in {
            "ce_specversion": "0.3",
            "ce_id": f"{KEY}:9",
            "ce_source": "/salesforce/other",
            "ce_type": "dev.usher.user.removed.v1",
            "ce_subject": "somebody",
            "ce_time": "yesterday",
            "ce_dataschema": "user-change.json",
            "content-type": "text/plain",
        }.items():
            self.assert_one(errors(message(headers={name: value})), name)

    def test_a_missing_header_is_named(self):
        incomplete = message()
        del incomplete.headers["ce_time"]
        self.assert_one(errors(incomplete), "ce_time is None")

    def test_the_wrong_partition_is_noticed(self):
        wrong = (message().partition + 1) % PARTITIONS
        self.assert_one(errors(message(partition=wrong)), "murmur2")

    def test_key_and_body_must_agree(self):
        other = body()
        other["user"]["id"] = "005000000000002AAA"
        self.assert_one(errors(message(other)), "not that of the body")

    def test_broken_messages_are_reported_and_do_not_stop_the_rest(self):
        found = errors(message(key=None), message(value=b"{"), message(value=b"[]"), message())
        self.assertEqual(len(found), 3, found)

    def test_the_schema_is_applied(self):
        from jsonschema import Draft202012Validator

        schema = {"properties": {"kind": {"const": "created"}}, "required": ["kind", "version"]}
        validator = Draft202012Validator(schema)
        self.assertEqual(errors(message(), validator=validator), [])
        wrong = copy.deepcopy(body())
        wrong["kind"] = "updated"
        self.assert_one(errors(message(wrong), validator=validator), "$.kind")


class Formats(unittest.TestCase):
    def test_times(self):
        for text in ("2026-03-01T10:00:00Z", "2026-03-01T10:00:00.123456Z", "2026-03-01T10:00:00+00:00"):
            self.assertRegex(text, TIME)
        for text in ("2026-03-01", "2026-03-01 10:00:00Z", "2026-13-01T10:00:00Z", "2026-03-01T10:00:00+02:00"):
            self.assertNotRegex(text, TIME)

    def test_uris(self):
        self.assertRegex("urn:usher:user-change:v1", ABSOLUTE_URI)
        self.assertNotRegex("/schema/user-change.json", ABSOLUTE_URI)


if __name__ == "__main__":
    unittest.main()
