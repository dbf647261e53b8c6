"""A program that knows the plain NATS client, CloudEvents' own SDK and docs/wire-format.md, and nothing of Busline.

    plain.py read  URL STREAM SUBJECT COUNT    one line of JSON for each record
    plain.py write URL TOPIC PARTITIONS        events from lines of standard input, one line of JSON for each ack
"""

import asyncio
import base64
import json
import sys

import nats
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent


def murmur2(data):
    """MurmurHash2 as Kafka's clients have it."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    h = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def read_record(message):
    said = {"subject": message.subject, "seq": message.metadata.sequence.stream}
    body = json.loads(message.data)
    if "specversion" not in body:
        return said | {"form": "flat", "record": body}
    event = JSONFormat().read(CloudEvent, message.data)
    data = event.get_data()
    if isinstance(data, bytes):
        data = {"bytes": base64.b64encode(data).decode()}
    attributes = event.get_attributes()
    attributes["time"] = event.get_time().isoformat()
    return said | {"form": "cloudevents", "attributes": attributes, "data": data}


async def read(url, stream, subject, count):
    client = await nats.connect(url)
    consumer = await client.jetstream().subscribe(subject, stream=stream, ordered_consumer=True)
    for _ in range(int(count)):
        print(json.dumps(read_record(await consumer.next_msg(timeout=60))))
    await client.close()


def body(event):
    if event["form"] == "flat":
        return json.dumps(event["record"]).encode()
    return JSONFormat().write(CloudEvent(event["attributes"], event["data"]))


async def write(url, topic, partitions):
    client = await nats.connect(url)
    stream = client.jetstream()
    for line in sys.stdin:
        event = json.loads(line)
        partition = (murmur2(event["key"].encode()) & 0x7FFFFFFF) % int(partitions)
        ack = await stream.publish(f"{topic}.{partition}", body(event))
        print(json.dumps({"partition": partition, "seq": ack.seq}))
    await client.close()


asyncio.run({"read": read, "write": write}[sys.argv[1]](*sys.argv[2:]))
