"""An application with models and jobs, as a user of djqueue would have it."""
