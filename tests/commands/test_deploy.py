"""Each unit that `queue_deploy` prints is read by its own tool, where that is installed."""

import configparser
import io
import json
import re
import shlex
import shutil
import subprocess

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError


def printed(kind, *arguments, **options):
    out = io.StringIO()
    call_command("queue_deploy", kind, *arguments, stdout=out, name="My Shop", **options)
    return out.getvalue()


def arguments(words):
    """What the worker is called with."""
    return words[words.index("queue_work") :]


ARGUMENTS = [
    *("queue_work", "database", "--queue", "high,default", "--workers", "2"),
    *("--memory", "300", "--grace", "40"),
]
OPTIONS = {"queue": "high,default", "workers": 2, "processes": 3, "memory": 300, "grace": 40}


def test_supervisor():
    parser = configparser.RawConfigParser()
    parser.read_string(printed("supervisor", **OPTIONS))
    (name,) = parser.sections()
    unit = parser[name]
    assert name == "program:my-shop-worker"
    assert arguments(shlex.split(unit["command"])) == ARGUMENTS
    assert (unit["numprocs"], unit["stopwaitsecs"], unit["stopasgroup"]) == ("3", "50", "false")


def test_supervisor_reads_it(tmp_path):
    options = pytest.importorskip("supervisor.options")
    path = tmp_path / "supervisord.conf"
    text = printed("supervisor", **OPTIONS, user="root")
    text = re.sub("stdout_logfile=.*", "stdout_logfile=NONE", text)
    path.write_text(f"[supervisord]\n{text}")
    server = options.ServerOptions()
    server.realize(["-c", str(path)])
    (group,) = server.process_group_configs
    assert len(group.process_configs) == 3
    assert group.process_configs[0].stopwaitsecs == 50


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd(tmp_path):
    text = printed("systemd", **OPTIONS, user="root")
    assert "TimeoutStopSec=50" in text
    assert "MemoryMax=800M" in text
    assert "Type=notify\nWatchdogSec=60\n" in text
    path = tmp_path / "my-shop-worker@.service"
    path.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path],
        capture_output=True,
        text=True,
        check=False,
    )
    # It checks other units too, which are not ours.
    assert "my-shop-worker" not in done.stderr, done.stderr


def test_docker():
    text = printed("docker", **OPTIONS)
    lines = {line.split()[0]: line for line in text.splitlines() if line[0] != "#"}
    assert arguments(json.loads(lines["CMD"].removeprefix("CMD "))) == ARGUMENTS
    _, health = lines["HEALTHCHECK"].split(" CMD ")
    assert json.loads(health)[-2:] == ["queue_health", "--live"]
    assert "--restart always --stop-timeout 50" in text


def test_kubernetes():
    yaml = pytest.importorskip("yaml")
    workers, notify = yaml.safe_load_all(printed("kubernetes", **OPTIONS))
    assert workers["spec"]["replicas"] == 3
    pod = workers["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 50
    (container,) = pod["containers"]
    heartbeat = "/tmp/worker-heartbeat"
    assert arguments(container["command"]) == [*ARGUMENTS, "--heartbeat", heartbeat]
    probe = container["livenessProbe"]["exec"]["command"]
    assert probe == ["sh", "-c", f'test -n "$(find {heartbeat} -mmin -1)"']
    assert pod["containers"][0]["resources"]["limits"]["memory"] == "800Mi"
    job = notify["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert job["containers"][0]["command"][-1] == "--notify"


@pytest.mark.parametrize("kind", ["supervisor", "systemd", "docker"])
def test_a_unit_has_the_monitor_in_a_comment(kind):
    (line,) = [line for line in printed(kind, **OPTIONS).splitlines() if "--notify" in line]
    assert re.match(r"[;#] \* \* \* \* \* (cd|docker) ", line)


def test_what_cannot_be_run_is_refused():
    with pytest.raises(CommandError, match="--workers must be 1 or more"):
        printed("docker", workers=0)
    with pytest.raises(CommandError, match="queue"):
        printed("docker", queue="a b")
