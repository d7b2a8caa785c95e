"""Reads `user-change` as any subscriber would, in another language than the producer's, and checks every message.

Prints one JSON line {"messages": n, "users": m, "errors": [...]} and exits 0 when nothing is wrong, 1 otherwise.

From the start to the end of every partition, committed records only. The end is what the consumer reports as the end of the
partition: offsets cannot tell, because commit markers and aborted records take offsets too.
"""

import argparse
import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from jsonschema import Draft202012Validator

from checks import Checker, Message

# A broken run may have one problem per message; nobody reads more than these.
ERRORS_SHOWN_MAX = 50


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", required=True, help="host:port of the broker")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--schema", help="the published JSON Schema of the message")
    parser.add_argument("--expect-min", type=int, default=1, help="fewer messages are an error")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for everything")
    return parser.parse_args(argv)


def validator_of(path):
    if path is None:
        return None
    with open(path, encoding="utf-8") as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def text_headers(message):
    headers = message.headers() or []
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers}


def read(options, validator):
    deadline = time.monotonic() + options.timeout
    consumer = Consumer(
        {
            "bootstrap.servers": options.bootstrap,
            # Required by the client; nothing is committed and no group is joined.
            "group.id": "contract-consumer",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        topic = consumer.list_topics(options.topic, timeout=options.timeout).topics[options.topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        partitions = sorted(topic.partitions)
        checker = Checker(len(partitions), validator)
        consumer.assign(
            [TopicPartition(options.topic, number, OFFSET_BEGINNING) for number in partitions]
        )
        unfinished = set(partitions)
        while unfinished:
            left = deadline - time.monotonic()
            if left <= 0:
                checker.errors.append(f"no end of partitions {sorted(unfinished)} in time")
                break
            message = consumer.poll(left)
            if message is None:
                continue
            error = message.error()
            if error is None:
                checker.check(
                    Message(
                        message.partition(),
                        message.offset(),
                        message.key(),
                        message.value(),
                        text_headers(message),
                    )
                )
            elif error.code() == KafkaError._PARTITION_EOF:
                unfinished.discard(message.partition())
            elif error.fatal() or not error.retriable():
                raise KafkaException(error)
        return checker
    finally:
        consumer.close()


def main(argv=None):
    options = arguments(argv)
    try:
        checker = read(options, validator_of(options.schema))
        messages, users, errors = checker.messages, checker.users, list(checker.errors)
        if messages < options.expect_min:
            errors.append(f"{messages} messages, expected at least {options.expect_min}")
    except (KafkaException, OSError, ValueError) as error:
        messages, users, errors = 0, 0, [f"{type(error).__name__}: {error}"]
    if len(errors) > ERRORS_SHOWN_MAX:
        errors = errors[:ERRORS_SHOWN_MAX] + [f"and {len(errors) - ERRORS_SHOWN_MAX} more"]
    print(json.dumps({"messages": messages, "users": users, "errors": errors}))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
