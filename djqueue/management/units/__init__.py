"""Units that run workers: for supervisor, systemd, Docker and Kubernetes."""
