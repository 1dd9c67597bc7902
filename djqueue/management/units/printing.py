"""The texts of units."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from string import Template

from djqueue.management.units.deployment import Deployment

__all__ = ["UNITS"]


HEARTBEAT = "/tmp/worker-heartbeat"  # noqa: S108 - of a container
"""The file that a worker touches in a container."""


def _in_crontab(it: Deployment) -> str:
    """Return the line of a crontab that looks for problems, once a minute."""
    command = it.command("queue_monitor", "--notify")
    line = f"cd {shlex.quote(it.directory)} && {command}"
    return "* * * * * " + line.replace("%", r"\%")  # cron ends a command at a bare one


def _supervisor(it: Deployment) -> str:
    return f"""\
; /etc/supervisor/conf.d/{it.name}-worker.conf
[program:{it.name}-worker]
command={it.command(percent="%%")}
process_name=%(program_name)s_%(process_num)02d
numprocs={it.processes}
directory={it.directory}
user={it.user}
environment=DJANGO_SETTINGS_MODULE="{it.settings}",PYTHONUNBUFFERED="1"
autostart=true
; also after 12, with which a worker ends whose child has grown above --memory
autorestart=true
startsecs=5
stopsignal=TERM
; longer than --grace, in which running jobs may end
stopwaitsecs={it.stop_after}
; the worker ends its children itself
stopasgroup=false
killasgroup=true
redirect_stderr=true
stdout_logfile=/var/log/{it.name}-worker.log

; Is it well?       {it.command("queue_health", "--deep")}
; With NOTIFY, in a crontab, for when no worker is left:
; {_in_crontab(it)}
"""


def _systemd(it: Deployment) -> str:
    return f"""\
# /etc/systemd/system/{it.name}-worker@.service
# systemctl enable --now {" ".join(f"{it.name}-worker@{n}" for n in range(1, it.processes + 1))}
# Is it well?  {it.command("queue_health", "--deep")}
# With NOTIFY, in a crontab, for when no worker is left:
# {_in_crontab(it)}
[Unit]
Description=Jobs of {it.name}, worker %i
After=network-online.target
Wants=network-online.target

[Service]
# It is started when it reads its queues. If its loop hangs, it is killed and started again.
Type=notify
WatchdogSec={it.watchdog}
User={it.user}
WorkingDirectory={it.directory.replace("%", "%%")}
Environment=DJANGO_SETTINGS_MODULE={it.settings} PYTHONUNBUFFERED=1
ExecStart={it.command(percent="%%")}
# Also after 12, with which a worker ends whose child has grown above --memory.
Restart=always
RestartSec=1
# The signal goes to the worker alone, which ends its children.
KillMode=mixed
# Longer than --grace, in which running jobs may end.
TimeoutStopSec={it.stop_after}
MemoryMax={it.memory_of_all}M

[Install]
WantedBy=multi-user.target
"""


def _docker(it: Deployment) -> str:
    command = _json_list(["python", "manage.py", *it.arguments])
    health = _json_list(["python", "manage.py", "queue_health", "--live"])
    options = f"--restart always --stop-timeout {it.stop_after} --memory {it.memory_of_all}m"
    return f"""\
# The last lines of a Dockerfile that installs the project. In exec form the worker gets signals.
# docker run {options} {it.name}-worker
# With NOTIFY, in a crontab, for when no worker is left:
# * * * * * docker run --rm {it.name}-worker python manage.py queue_monitor --notify
ENV DJANGO_SETTINGS_MODULE={it.settings} PYTHONUNBUFFERED=1
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s CMD {health}
CMD {command}
"""


_KUBERNETES = Template("""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}-worker
spec:
  replicas: $processes
  selector:
    matchLabels: {app: ${name}-worker}
  template:
    metadata:
      labels: {app: ${name}-worker}
    spec:
      # Longer than --grace, in which running jobs may end.
      terminationGracePeriodSeconds: $stop_after
      containers:
        - name: worker
          image: $name:latest
          command: $command
          env: $env
          resources:
            requests: {memory: "${memory_of_all}Mi"}
            limits: {memory: "${memory_of_all}Mi"}
          # The worker's loop turns. This asks no database: if one is away, all workers wait for it,
          # and to restart them would not help.
          livenessProbe:
            exec: {command: $alive}
            initialDelaySeconds: 60
            periodSeconds: 30
          readinessProbe:
            exec: {command: $ready}
            periodSeconds: 60
            timeoutSeconds: 20
---
# With NOTIFY, for when no worker is left.
apiVersion: batch/v1
kind: CronJob
metadata:
  name: ${name}-notify
spec:
  schedule: "* * * * *"
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      backoffLimit: 0
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: notify
              image: $name:latest
              command: $notify
              env: $env
""")


def _kubernetes(it: Deployment) -> str:
    return _KUBERNETES.substitute(
        name=it.name,
        processes=it.processes,
        stop_after=it.stop_after,
        memory_of_all=it.memory_of_all,
        command=_json_list(["python", "manage.py", *it.arguments, "--heartbeat", HEARTBEAT]),
        alive=_json_list(
            ["sh", "-c", f'test -n "$(find {HEARTBEAT} -mmin -{math.ceil(it.watchdog / 60)})"']
        ),
        ready=_json_list(["python", "manage.py", "queue_health", "--ready"]),
        notify=_json_list(["python", "manage.py", "queue_monitor", "--notify"]),
        env=f'[{{name: DJANGO_SETTINGS_MODULE, value: "{it.settings}"}}]',
    )


def _json_list(words: list[str]) -> str:
    return f"[{', '.join(map(_quoted, words))}]"


def _quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


UNITS: Mapping[str, Callable[[Deployment], str]] = {
    "supervisor": _supervisor,
    "systemd": _systemd,
    "docker": _docker,
    "kubernetes": _kubernetes,
}
"""What prints a unit, by the name of what reads it."""
