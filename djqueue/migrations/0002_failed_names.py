from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Indexes with which the admin finds failed jobs by their name and their exception."""

    dependencies = (("djqueue", "0001_initial"),)

    operations = (
        migrations.AddIndex(
            model_name="failedjob",
            index=models.Index(fields=["name", "id"], name="djqueue_failed_name"),
        ),
        migrations.AddIndex(
            model_name="failedjob",
            index=models.Index(fields=["exception_class", "id"], name="djqueue_failed_class"),
        ),
    )
