"""Apache Kafka for tests: lays out, starts, asks and stops KRaft nodes on loopback ports. Standard library only."""

import json
import os
import shlex
import socket
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import servers

DEFAULT_VERSION = "4.3.0"
READY_SECONDS = 120
LISTENERS = ("PLAINTEXT", "SSL", "MTLS", "SASL_SSL")
USER, PASSWORD = "alice", "alice-secret"

# C1 alone and a serial collector start soonest and use the least memory; a benchmark passes its own flags.
QUICK_JVM = "-Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xshare:auto"


def jars(version):
    """The folder that holds the jars of this version, fetched when missing."""
    fetched = subprocess.run([HERE / "fetch", version], stdout=subprocess.PIPE, text=True)
    if fetched.returncode != 0:
        raise SystemExit(f"Apache Kafka {version} cannot be fetched")
    return Path(fetched.stdout.strip())


def java(version, main_class, arguments, flags=""):
    """The command line that runs a class of Kafka's."""
    log_level = os.environ.get("EVENKEEL_KAFKA_LOG", "warn")
    return [
        os.environ.get("JAVA_HOME", "") and f"{os.environ['JAVA_HOME']}/bin/java" or "java",
        *shlex.split(flags),
        f"-Dorg.slf4j.simpleLogger.defaultLogLevel={log_level}",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-cp", f"{jars(version)}/*", main_class, *map(str, arguments),
    ]


def has_class(version, name):
    entry = name.replace(".", "/") + ".class"
    for jar in sorted(jars(version).glob("kafka*.jar")):
        with zipfile.ZipFile(jar) as archive:
            if entry in archive.namelist():
                return True
    return False


def lay_out(folder, options):
    """Writes the properties of every node and formats it. Returns the description that is kept in cluster.json."""
    listeners = ["PLAINTEXT"] + (["SSL", "MTLS", "SASL_SSL"] if options.tls else [])
    ports = iter(servers.free_ports(options.nodes * (len(listeners) + 1)))
    nodes = []
    for number in range(1, options.nodes + 1):
        nodes.append({
            "id": number,
            "folder": str(folder / f"node-{number}"),
            "controller": next(ports),
            "ports": {name: next(ports) for name in listeners},
        })
    described = {
        "version": options.version,
        "folder": str(folder),
        "jvm": options.jvm,
        "bootstrap": {name: ",".join(f"127.0.0.1:{node['ports'][name]}" for node in nodes) for name in listeners},
        "nodes": nodes,
    }
    if options.tls:
        subprocess.run([HERE / "certificates", folder / "tls"], check=True)
        described["tls"] = {
            "ca": str(folder / "tls/ca.pem"),
            "stranger_ca": str(folder / "tls/stranger-ca.pem"),
            "client_certificate": str(folder / "tls/client.pem"),
            "client_key": str(folder / "tls/client.key"),
        }
        described["sasl"] = {"user": USER, "password": PASSWORD}
    for node in nodes:
        write_properties(node, described, options)
    (folder / "cluster.json").write_text(json.dumps(described, indent=1))
    format_nodes(described, options)
    return described


def write_properties(node, described, options):
    replicas = min(3, options.nodes)
    properties = {
        "process.roles": "broker,controller",
        "node.id": node["id"],
        "controller.quorum.voters": ",".join(f"{n['id']}@127.0.0.1:{n['controller']}" for n in described["nodes"]),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": ",".join(
            [f"{name}://127.0.0.1:{port}" for name, port in node["ports"].items()]
            + [f"CONTROLLER://127.0.0.1:{node['controller']}"]),
        "advertised.listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in node["ports"].items()),
        "listener.security.protocol.map":
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,MTLS:SSL,SASL_SSL:SASL_SSL",
        "log.dirs": f"{node['folder']}/data",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 5,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 3,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # A node that was killed with -9 may come back only when its session has run out.
        "broker.heartbeat.interval.ms": 500,
        "broker.session.timeout.ms": 4000,
    }
    if options.tls:
        properties |= tls_properties(Path(described["folder"]) / "tls")
    properties |= dict(line.split("=", 1) for line in options.set)
    folder = Path(node["folder"])
    folder.mkdir(parents=True)
    (folder / "server.properties").write_text("".join(f"{key}={value}\n" for key, value in properties.items()))


def tls_properties(folder):
    module = "org.apache.kafka.common.security"
    return {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": folder / "server-keystore.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": folder / "ca.pem",
        "listener.name.mtls.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        "listener.name.sasl_ssl.plain.sasl.jaas.config":
            f'{module}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        # Takes unsigned tokens: enough to see that a client speaks the mechanism.
        "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config":
            f'{module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{USER}";',
    }


def format_nodes(described, options):
    """Formats all nodes at once, each in a JVM of its own."""
    arguments = ["format", "--cluster-id", "ZXZlbmtlZWwtdGVzdHMtMQ"]
    if options.tls:
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
            arguments += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
    running = []
    for node in described["nodes"]:
        command = java(described["version"], "kafka.tools.StorageTool",
                       [*arguments, "--config", f"{node['folder']}/server.properties"], QUICK_JVM)
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    for process in running:
        said, _ = process.communicate()
        if process.returncode != 0:
            raise SystemExit(f"formatting a Kafka node failed: {said}")


def launch(described, node, leave=True):
    """Starts the JVM of one node and records its pid. Returns the process. One that is to be left running has a session of
    its own, so that a Ctrl-C in the terminal does not end it."""
    folder = Path(node["folder"])
    command = java(described["version"], "kafka.Kafka", [folder / "server.properties"], described["jvm"])
    with open(folder / "kafka.log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                                   start_new_session=leave)
    (folder / "pid").write_text(str(process.pid))
    return process


def wait_until_ready(described, started):
    """Asks every node for its metadata until each sees `expected` brokers. Raises Died when a JVM ends before that."""
    expected = len(described["nodes"])
    deadline = time.monotonic() + READY_SECONDS
    waiting = dict(started)
    while waiting:
        for number, process in list(waiting.items()):
            node = described["nodes"][number - 1]
            if process.poll() is not None:
                raise servers.Died(f"Kafka node {node['id']} ended before it answered: {last_words(node)}")
            if brokers_seen(node["ports"]["PLAINTEXT"]) >= (expected if len(started) == expected else 1):
                del waiting[number]
        if waiting and time.monotonic() > deadline:
            raise SystemExit(f"Kafka did not answer within {READY_SECONDS} s: {last_words(described['nodes'][0])}")
        # The pause between two questions, not a wait for readiness.
        time.sleep(0.05)


def last_words(node):
    return servers.last_words(Path(node["folder"]) / "kafka.log")


def brokers_seen(port):
    """How many brokers the node on this port knows, by a Metadata request of version 4 for no topic; 0 when it does not answer."""
    client = b"readiness"
    body = struct.pack(">hhih", 3, 4, 1, len(client)) + client + struct.pack(">i?", 0, False)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(5)
            connection.sendall(struct.pack(">i", len(body)) + body)
            with connection.makefile("rb") as answer:
                size = struct.unpack(">i", answer.read(4))[0]
                _correlation, _throttle, brokers = struct.unpack(">iii", answer.read(size)[:12])
                return brokers
    except (OSError, struct.error):
        return 0


def running_pid(node):
    """The pid of the node's JVM, or None: a recorded pid that another program has by now is not taken for it."""
    try:
        pid = int((Path(node["folder"]) / "pid").read_text())
    except (OSError, ValueError):
        return None
    shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], stdout=subprocess.PIPE, text=True).stdout
    return pid if f"{node['folder']}/server.properties" in shown else None


def send_signal(node, name):
    pid = running_pid(node)
    return pid if pid is not None and servers.send(pid, name) else None


def stop(described, names=("KILL",), numbers=None):
    """Sends each signal to the chosen nodes in turn and waits until they are gone when one of them ends a process."""
    chosen = [node for node in described["nodes"] if numbers is None or node["id"] in numbers]
    for name in names:
        for node in chosen:
            send_signal(node, name)
    if names[-1] in ("TERM", "KILL"):
        # A killed process loses its name before the system has closed its sockets.
        servers.wait_until_gone("a Kafka node",
                                lambda: any(running_pid(node) is not None or listens(node) for node in chosen))


def listens(node):
    return any(servers.listens(port) for port in [node["controller"], *node["ports"].values()])


def load(folder):
    return servers.load(folder, "cluster.json", "cluster")
