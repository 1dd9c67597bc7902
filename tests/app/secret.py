"""Encrypted jobs, for workers under test. What they write into the ledger is no secret."""

from __future__ import annotations

from djqueue import Job, context, current_job, job
from djqueue.middleware import WithoutOverlapping
from tests.ledger import write


@job(name="app.keeps_secret", encrypted=True, store_result=True)
def keeps_secret(text: str) -> str:
    """Return it, and say how far it has come."""
    current_job().progress(1, 2, text)
    write(f"kept {len(text)} {len(context.get('note', ''))}")
    return text


@job(name="app.follows_secret", encrypted=True, store_result=True)
def follows_secret() -> int:
    """Return the length of what the step before has returned."""
    return len(current_job().previous)


@job(name="app.reads_secret", store_result=True)
def reads_secret() -> int:
    """Do the same, and be no encrypted job."""
    return len(current_job().previous)


class FailsWithSecret(
    Job, name="app.FailsWithSecret", encrypted=True, store_result=True, tries=2, backoff=0
):
    """Fails, and says its argument."""

    text: str

    def middleware(self):
        return [WithoutOverlapping(self.text)]

    def handle(self):
        try:
            raise KeyError(self.text)
        except KeyError as error:
            raise ValueError(f"no: {self.text}") from error

    def failed(self, error):
        write(f"failed {type(error).__name__} {self.text in str(error)}")
