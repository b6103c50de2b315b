"""Messages taken from the topic by Kafka's own console consumer, checked by jsonschema.

Takes the environment of a stack (stack.env). Shares no code with the project.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jsonschema

TOPIC = "frischmarkt.store-minutes.v1"
MESSAGES_MAX = 2000
SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "shared/schema/store-minute.v1.json"
ATTRIBUTES = {"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_dataschema", "content-type"}


def consume(folder):
    environment = os.environ
    key, certificate = (pathlib.Path(environment[name]).read_text() for name in ("ADMIN_KEY", "ADMIN_CERT"))
    keystore = pathlib.Path(folder) / "admin.pem"
    keystore.touch(mode=0o600)
    keystore.write_text(key + certificate)
    config = pathlib.Path(folder) / "client.properties"
    config.write_text(
        "security.protocol=SSL\nssl.keystore.type=PEM\nssl.truststore.type=PEM\n"
        f"ssl.keystore.location={keystore}\nssl.truststore.location={environment['KAFKA_CA']}\n"
    )
    return subprocess.run(
        ["java", "-cp", f"{environment['KAFKA_LIBS']}/*", "-Xmx256m", "org.apache.kafka.tools.consumer.ConsoleConsumer",
         "--bootstrap-server", environment["KAFKA_BROKERS"], "--topic", TOPIC, "--from-beginning",
         "--command-config", str(config), "--formatter-property", "print.headers=true",
         "--formatter-property", "print.key=true", "--max-messages", str(MESSAGES_MAX), "--timeout-ms", "10000"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120, check=False,
    ).stdout.splitlines()


def faults_of(line, validator):
    headers, key, body = line.split("\t", 2)
    names = dict(part.split(":", 1) for part in headers.split(","))
    message = json.loads(body)
    faults = [error.message for error in validator.iter_errors(message)]
    if missing := ATTRIBUTES - names.keys():
        faults.append(f"headers lack {sorted(missing)}")
    if names.get("ce_id") != f"{message['stream']}/{message['sequence']}":
        faults.append("ce_id is not stream/sequence")
    if key != message["store"] or names.get("ce_source") != f"/stores/{key}":
        faults.append("key, store and ce_source differ")
    return faults


def main():
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    if not list(validator.iter_errors({"store": 7})):
        sys.exit("the schema accepts what is no store-minute: it checks nothing")
    with tempfile.TemporaryDirectory() as folder:
        lines = consume(folder)
    bad = [(line, faults) for line in lines if (faults := faults_of(line, validator))]
    print(f"messages: {len(lines)} from the console consumer, {len(lines) - len(bad)} valid by {SCHEMA.name}")
    for line, faults in bad[:5]:
        print(f"  {faults}: {line[:200]}")
    sys.exit(1 if bad or not lines else 0)


if __name__ == "__main__":
    main()
