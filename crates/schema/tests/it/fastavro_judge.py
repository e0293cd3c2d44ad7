"""Reads questions as ndjson from stdin, answers each with one line: what fastavro makes of a schema and of bytes."""

import io
import json
import sys

import fastavro


def answer(question):
    schema = fastavro.parse_schema(question["schema"])
    stream = io.BytesIO(bytes.fromhex(question["bytes"]))
    value = fastavro.schemaless_reader(stream, schema, None)
    left = len(stream.read())
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    canonical = fastavro.schema.to_parsing_canonical_form(question["schema"])
    return {
        "left": left,
        "bytes": out.getvalue().hex(),
        "text": str(value),
        "canonical": canonical,
        "crc": fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"),
        "sha256": fastavro.schema.fingerprint(canonical, "sha256"),
        "md5": fastavro.schema.fingerprint(canonical, "md5"),
    }


for line in sys.stdin:
    try:
        print(json.dumps(answer(json.loads(line))))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
