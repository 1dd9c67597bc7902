from django.db import migrations, models

import djqueue.indexes
from djqueue.migrations._tuning import tune


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Control",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("scope", models.CharField(max_length=200, unique=True)),
                ("value", models.BigIntegerField(default=0)),
                ("until", models.DateTimeField(null=True)),
                ("reason", models.CharField(default="", max_length=255)),
                ("by", models.CharField(default="", max_length=255)),
                ("updated_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "control",
                "verbose_name_plural": "controls",
                "db_table": "djqueue_controls",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Overview",
            fields=[],
            options={
                "verbose_name": "overview",
                "verbose_name_plural": " Overview",
                "permissions": (("pause_queue", "Can pause and resume queues"),),
                "proxy": True,
                "default_permissions": ("view",),
                "indexes": [],
                "constraints": [],
            },
            bases=("djqueue.control",),
        ),
        migrations.CreateModel(
            name="JobBatch",
            fields=[
                ("id", models.CharField(max_length=36, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=255, verbose_name="name")),
                ("total_jobs", models.PositiveIntegerField(default=0, verbose_name="jobs")),
                ("pending_jobs", models.PositiveIntegerField(default=0, verbose_name="pending")),
                ("failed_jobs", models.PositiveIntegerField(default=0, verbose_name="failed")),
                ("failed_job_ids", models.TextField(default="")),
                ("stored_options", models.TextField(db_column="options", default="")),
                ("cancelled_at", models.DateTimeField(null=True, verbose_name="cancelled at")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("finished_at", models.DateTimeField(null=True, verbose_name="finished at")),
                ("succeeded_at", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField(null=True)),
                ("progress_at", models.DateTimeField(null=True)),
                ("open_until", models.DateTimeField(null=True)),
                ("upkeep_at", models.DateTimeField(null=True)),
                ("announced", models.BooleanField(default=False)),
                ("swept_to", models.BigIntegerField(default=0)),
                ("left_from", models.BigIntegerField(null=True)),
                ("depth", models.PositiveSmallIntegerField(default=0)),
                ("chain", models.CharField(max_length=36, null=True)),
                ("outer", models.CharField(max_length=36, null=True)),
                ("links", models.TextField(default="")),
                ("turn", models.CharField(default="", max_length=6)),
                ("reason", models.CharField(default="", max_length=255)),
            ],
            options={
                "verbose_name": "job batch",
                "verbose_name_plural": "job batches",
                "db_table": "job_batches",
                "indexes": [
                    models.Index(fields=["created_at"], name="djqueue_batches_created"),
                    djqueue.indexes.IndexOfValues(
                        fields=["upkeep_at"], name="djqueue_batches_upkeep"
                    ),
                    djqueue.indexes.IndexOfValues(fields=["chain"], name="djqueue_batches_chain"),
                    djqueue.indexes.IndexOfValues(fields=["outer"], name="djqueue_batches_outer"),
                ],
                "permissions": (
                    ("cancel_jobbatch", "Can cancel batches"),
                    ("retry_jobbatch", "Can retry the failed jobs of batches"),
                ),
            },
        ),
        migrations.CreateModel(
            name="FailedJob",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("uuid", models.UUIDField(unique=True, verbose_name="id")),
                ("connection", models.CharField(max_length=255, verbose_name="connection")),
                ("queue", models.CharField(max_length=80, verbose_name="queue")),
                ("failed_at", models.DateTimeField(verbose_name="failed at")),
                ("name", models.CharField(default="", max_length=255, verbose_name="job")),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                (
                    "exception_class",
                    models.CharField(default="", max_length=255, verbose_name="exception class"),
                ),
                (
                    "exception_message",
                    models.CharField(default="", max_length=1000, verbose_name="message"),
                ),
                ("fingerprint", models.CharField(default="", max_length=40)),
                ("reservation", models.BigIntegerField(default=0)),
                ("taken_until", models.DateTimeField(null=True)),
                ("taken_by", models.CharField(default="", max_length=36)),
                ("push_id", models.CharField(default="", max_length=36)),
                ("batch_id", models.CharField(max_length=36, null=True)),
                ("host", models.CharField(default="", max_length=255, verbose_name="host")),
                ("duration", models.FloatField(null=True, verbose_name="duration")),
                ("history", models.TextField(default="")),
                ("payload", models.TextField(verbose_name="payload")),
                ("exception", models.TextField(verbose_name="exception")),
            ],
            options={
                "verbose_name": "failed job",
                "verbose_name_plural": "failed jobs",
                "db_table": "failed_jobs",
                "permissions": (
                    ("retry_failedjob", "Can retry failed jobs"),
                    ("view_exception", "Can see messages and tracebacks of exceptions"),
                ),
                "indexes": [
                    models.Index(fields=["failed_at"], name="djqueue_failed_at"),
                    models.Index(
                        fields=["connection", "queue", "failed_at"], name="djqueue_failed_queue"
                    ),
                    models.Index(fields=["fingerprint"], name="djqueue_failed_print"),
                    djqueue.indexes.IndexOfValues(
                        fields=["batch_id"], name="djqueue_failed_batch"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="QueuedJob",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("queue", models.CharField(max_length=80, verbose_name="queue")),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="attempts")),
                ("reserved_at", models.DateTimeField(null=True, verbose_name="reserved at")),
                ("available_at", models.DateTimeField(verbose_name="available at")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("uuid", models.UUIDField(unique=True, verbose_name="id")),
                ("name", models.CharField(max_length=255, verbose_name="job")),
                ("priority", models.SmallIntegerField(default=0, verbose_name="priority")),
                ("line", models.SmallIntegerField(null=True)),
                ("reserved_until", models.DateTimeField(null=True, verbose_name="reserved until")),
                ("reserved_by", models.BigIntegerField(null=True, verbose_name="reserved by")),
                ("reservation", models.BigIntegerField(default=0)),
                (
                    "interruptions",
                    models.PositiveIntegerField(default=0, verbose_name="interruptions"),
                ),
                ("batch_id", models.CharField(max_length=36, null=True)),
                ("push_id", models.CharField(db_default="", max_length=36)),
                ("history", models.TextField(default="")),
                ("payload", models.TextField(verbose_name="payload")),
            ],
            options={
                "verbose_name": "job",
                "verbose_name_plural": "jobs",
                "db_table": "jobs",
                "permissions": (
                    ("release_job", "Can release stuck jobs and run delayed ones now"),
                    ("force_delete_job", "Can delete jobs that are running"),
                    ("stop_job", "Can stop jobs that are running"),
                    ("view_payload", "Can see arguments and payloads"),
                    ("edit_payload", "Can retry failed jobs with other arguments"),
                    ("bulk_operations", "Can act on more than 1,000 jobs at once"),
                ),
                "indexes": [
                    models.Index(
                        fields=["queue", "line", "available_at", "id"], name="djqueue_jobs_line"
                    ),
                    djqueue.indexes.IndexOfValues(
                        fields=["reserved_by"], name="djqueue_jobs_held"
                    ),
                    djqueue.indexes.PartialIndex(
                        fields=["batch_id", "id"], name="djqueue_jobs_batch"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("uuid", models.UUIDField(primary_key=True, serialize=False)),
                ("ended", models.BooleanField(default=False)),
                ("reservation", models.BigIntegerField(default=0)),
                ("held_as", models.CharField(default="", max_length=100)),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("interruptions", models.PositiveIntegerField(default=0)),
                ("history", models.TextField(default="")),
                ("updated_at", models.DateTimeField()),
                ("push_id", models.CharField(db_default="", max_length=36)),
                ("cancelled", models.BooleanField(db_default=False)),
                ("keep_until", models.DateTimeField(null=True)),
                ("batch_id", models.CharField(max_length=36, null=True)),
            ],
            options={
                "verbose_name": "run",
                "verbose_name_plural": "runs",
                "db_table": "djqueue_runs",
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["updated_at"], name="djqueue_runs_updated"),
                    djqueue.indexes.IndexOfValues(fields=["batch_id"], name="djqueue_runs_batch"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Outbox",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("connection", models.CharField(max_length=255, verbose_name="connection")),
                ("queue", models.CharField(max_length=80, verbose_name="queue")),
                ("uuid", models.UUIDField()),
                ("name", models.CharField(max_length=255, verbose_name="job")),
                ("payload", models.TextField(verbose_name="payload")),
                ("priority", models.SmallIntegerField(default=0)),
                ("message_group", models.CharField(max_length=128, null=True)),
                ("deduplication_id", models.CharField(max_length=128, null=True)),
                ("due_at", models.DateTimeField(null=True, verbose_name="due at")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("parked", models.BooleanField(default=False)),
                ("push_id", models.CharField(default="", max_length=36)),
                ("reservation", models.BigIntegerField(default=0)),
                ("taken_until", models.DateTimeField(null=True)),
                ("taken_by", models.CharField(default="", max_length=36)),
                ("chain", models.CharField(max_length=36, null=True)),
                ("position", models.IntegerField(default=0)),
                ("broken", models.BooleanField(default=False)),
                ("batch_id", models.CharField(max_length=36, null=True)),
                ("delay", models.FloatField(default=0)),
                ("debounced", models.BooleanField(db_default=False)),
            ],
            options={
                "verbose_name": "parked job",
                "verbose_name_plural": "parked jobs",
                "db_table": "djqueue_outbox",
                "default_permissions": (),
                "indexes": [
                    models.Index(
                        fields=["connection", "due_at", "id"], name="djqueue_outbox_due"
                    ),
                    djqueue.indexes.IndexOfValues(
                        fields=["chain", "position"], name="djqueue_outbox_chain"
                    ),
                    djqueue.indexes.IndexOfValues(
                        fields=["batch_id"], name="djqueue_outbox_batch"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["uuid", "push_id", "parked", "reservation"],
                        name="djqueue_outbox_push",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Payload",
            fields=[
                ("uuid", models.UUIDField(primary_key=True, serialize=False)),
                ("connection", models.CharField(max_length=255)),
                ("body", models.BinaryField(null=True)),
                ("created_at", models.DateTimeField()),
                ("check_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "large payload",
                "verbose_name_plural": "large payloads",
                "db_table": "djqueue_payloads",
                "default_permissions": (),
                "indexes": [models.Index(fields=["check_at"], name="djqueue_payloads_check")],
            },
        ),
        migrations.CreateModel(
            name="Slot",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=255)),
                ("place", models.SmallIntegerField()),
                ("taken_at", models.DateTimeField()),
                ("uses", models.PositiveIntegerField(default=1)),
                ("free_at", models.DateTimeField(null=True)),
                ("job", models.UUIDField(null=True)),
                ("run", models.PositiveIntegerField(default=0)),
                ("holder", models.CharField(default="", max_length=32)),
            ],
            options={
                "verbose_name": "slot of a limit",
                "verbose_name_plural": "slots of limits",
                "db_table": "djqueue_slots",
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["name", "taken_at"], name="djqueue_slots_taken"),
                    djqueue.indexes.IndexOfValues(fields=["job"], name="djqueue_slots_job"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["name", "place"], name="djqueue_slots_place"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=255, verbose_name="name")),
                ("hostname", models.CharField(max_length=255, verbose_name="host")),
                ("pid", models.IntegerField(verbose_name="process")),
                ("connection", models.CharField(max_length=255, verbose_name="connection")),
                ("queues", models.TextField(verbose_name="queues")),
                ("started_at", models.DateTimeField(verbose_name="started at")),
                ("alive_until", models.DateTimeField(verbose_name="alive until")),
                ("idle", models.BooleanField(default=False, verbose_name="idle")),
                ("version", models.CharField(default="", max_length=50, verbose_name="version")),
                ("memory", models.BigIntegerField(null=True, verbose_name="memory")),
                ("running", models.TextField(default="")),
            ],
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
                "db_table": "djqueue_workers",
                "permissions": (("restart_worker", "Can restart workers"),),
                "indexes": [models.Index(fields=["alive_until"], name="djqueue_workers_alive")],
            },
        ),
        migrations.CreateModel(
            name="Key",
            fields=[
                (
                    "key",
                    models.CharField(
                        max_length=200,
                        primary_key=True,
                        serialize=False,
                        verbose_name="unique key",
                    ),
                ),
                ("job", models.UUIDField(verbose_name="job")),
                ("connection", models.CharField(max_length=255, verbose_name="connection")),
                ("queue", models.CharField(max_length=80, verbose_name="queue")),
                ("until", models.DateTimeField(null=True, verbose_name="until")),
                ("taken_at", models.DateTimeField(verbose_name="taken at")),
            ],
            options={
                "verbose_name": "unique key",
                "verbose_name_plural": "unique keys",
                "db_table": "djqueue_keys",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Debounced",
            fields=[
                (
                    "key",
                    models.CharField(max_length=200, primary_key=True, serialize=False),
                ),
                ("job", models.UUIDField()),
                ("asked_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "debounced key",
                "verbose_name_plural": "debounced keys",
                "db_table": "djqueue_debounced",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="JobResult",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False, verbose_name="id")),
                ("name", models.CharField(max_length=255, verbose_name="job")),
                ("queue", models.CharField(max_length=80, verbose_name="queue")),
                ("connection", models.CharField(max_length=255, verbose_name="connection")),
                (
                    "status",
                    models.CharField(db_default="waiting", max_length=10, verbose_name="status"),
                ),
                ("done", models.FloatField(null=True, verbose_name="done")),
                ("total", models.FloatField(null=True, verbose_name="total")),
                (
                    "message",
                    models.CharField(db_default="", max_length=200, verbose_name="message"),
                ),
                ("value", models.TextField(null=True, verbose_name="value")),
                ("error", models.TextField(null=True, verbose_name="error")),
                ("owner", models.CharField(db_default="", max_length=255, verbose_name="owner")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("finished_at", models.DateTimeField(null=True, verbose_name="finished at")),
                ("keep_until", models.DateTimeField()),
            ],
            options={
                "verbose_name": "result",
                "verbose_name_plural": "results",
                "db_table": "djqueue_results",
                "default_permissions": ("view", "delete"),
                "indexes": [models.Index(fields=["keep_until"], name="djqueue_results_keep")],
            },
        ),
        migrations.CreateModel(
            name="Minute",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("span", models.IntegerField()),
                ("at", models.BigIntegerField()),
                ("connection", models.CharField(max_length=255)),
                ("queue", models.CharField(max_length=80)),
                ("name", models.CharField(max_length=255)),
                ("done", models.BigIntegerField(default=0)),
                ("failed", models.BigIntegerField(default=0)),
                ("released", models.BigIntegerField(default=0)),
                *((f"runtime_{n}", models.BigIntegerField(default=0)) for n in range(16)),
                *((f"wait_{n}", models.BigIntegerField(default=0)) for n in range(16)),
            ],
            options={
                "verbose_name": "minute of statistics",
                "verbose_name_plural": "minutes of statistics",
                "db_table": "djqueue_minutes",
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(
                        fields=["span", "at", "connection", "queue", "name"],
                        name="djqueue_minutes_key",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FinishedJob",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("uuid", models.UUIDField(verbose_name="id")),
                ("name", models.CharField(max_length=255, verbose_name="job")),
                ("queue", models.CharField(max_length=80, verbose_name="queue")),
                ("connection", models.CharField(max_length=255, verbose_name="connection")),
                ("attempts", models.PositiveIntegerField(verbose_name="attempts")),
                ("duration", models.FloatField(verbose_name="duration")),
                ("finished_at", models.DateTimeField(verbose_name="finished at")),
            ],
            options={
                "verbose_name": "finished job",
                "verbose_name_plural": "finished jobs",
                "db_table": "djqueue_finished",
                "default_permissions": ("view",),
                "indexes": [models.Index(fields=["finished_at"], name="djqueue_finished_at")],
            },
        ),
        migrations.CreateModel(
            name="Incident",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=200, unique=True)),
                ("text", models.TextField(default="")),
                ("begun_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                ("said_at", models.DateTimeField(null=True)),
                ("taken_until", models.DateTimeField(null=True)),
                ("taken_by", models.CharField(default="", max_length=36)),
            ],
            options={
                "verbose_name": "incident",
                "verbose_name_plural": "incidents",
                "db_table": "djqueue_incidents",
                "default_permissions": (),
            },
        ),
        migrations.RunPython(tune, migrations.RunPython.noop, atomic=False),
    ]
