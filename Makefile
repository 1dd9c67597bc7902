# make test     the whole suite, on SQLite, PostgreSQL and MariaDB
# make demo     the demonstration project, with a worker, in a browser
# make demo-admin  the admin of the demonstration after a bad night: jobs in every state
# make ui       the browser proofs, and pictures of every screen of that night in the folder UI;
#               with DOCS=1 those of docs/images too
# make check    lint, types, migrations, layers
# make bench    throughput and latency
# make messages  the catalogues of the admin's languages: what is new in the code, and compiled
# make house    sizes of files, functions and rooms, documentation, circles of imports
# make torture  workers killed at random, and what they left behind counted; on other stores too:
#               make torture ARGS="redis cluster beanstalkd sqs"
# make soak     ten million jobs and 200,000 failures through one worker, whose memory is watched
#
# PYTHON, VENV and DJANGO choose the interpreter, the folder and the Django release; ARGS goes to
# the program, as in: make test ARGS="-k unique". Several may run at once on one checkout.

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
DJANGO ?=
DATABASES ?= sqlite,postgresql,mariadb
ARGS ?=
UI ?= demo_project/var/pictures
SOAK_DATABASE ?= postgresql
SOAK_JOBS ?= 10000000
SOAK_FAILING ?= 200000

BIN = $(VENV)/bin
LANGUAGES = de ja ko
DJANGO_OPTION = $(if $(DJANGO),--django $(DJANGO))

.PHONY: test demo demo-admin ui check lint types mypy pyright migrations layers messages house bench torture soak services test-venv dev-venv
.DEFAULT_GOAL := test

test: services test-venv
	@$(BIN)/python .ci/test.py --databases $(DATABASES) $(ARGS)

demo:
	@$(PYTHON) .ci/venv.py $(DEMO_VENV) --extras demo $(DJANGO_OPTION)
	@$(DEMO_VENV)/bin/python manage.py demo $(ARGS)

demo-admin:
	@$(PYTHON) .ci/venv.py $(DEMO_VENV) --extras demo $(DJANGO_OPTION)
	@DEMO_FOLDER=$(or $(DEMO_FOLDER),demo_project/var/night) $(DEMO_VENV)/bin/python manage.py demo_admin

ui: services test-venv
	@$(BIN)/python -m pytest -q tests/admin/browser $(ARGS)
	@$(BIN)/python -m tests.admin.browser.pictures $(UI) $(if $(DOCS),--docs)

check: lint types migrations layers

lint: dev-venv
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .

types: mypy pyright

mypy: dev-venv
	$(BIN)/mypy

pyright: dev-venv
	$(BIN)/pyright --pythonpath $(BIN)/python

migrations: dev-venv
	$(BIN)/python -m django makemigrations djqueue --check --dry-run --settings tests.settings

layers: dev-venv
	$(BIN)/python -m pytest -q tests/test_layers.py tests/test_house.py

messages: services dev-venv
	@$(BIN)/python manage.py makemessages $(LANGUAGES:%=--locale %) --no-location --no-obsolete \
	 $(foreach folder,tests demo_project benchmarks .venv,--ignore "$(folder)*")
	@cd djqueue/locale && for each in */LC_MESSAGES; do msgfmt --check -o $$each/django.mo $$each/django.po; done

house: dev-venv
	@$(BIN)/python -m tests.house

bench: services test-venv
	@$(BIN)/python -m benchmarks $(ARGS)

torture: services test-venv
	@$(BIN)/python -m tests.torture $(ARGS)

soak: services test-venv
	@DJQUEUE_TEST_DB=$(SOAK_DATABASE) DJQUEUE_SOAK_JOBS=$(SOAK_JOBS) \
	 DJQUEUE_SOAK_FAILING=$(SOAK_FAILING) \
	 $(BIN)/python -m pytest -s -q --no-header --timeout=0 tests/worker/test_soak.py $(ARGS)

services:
	@$(PYTHON) -m tests.services install

test-venv:
	@$(PYTHON) .ci/venv.py $(VENV) --extras test,mysql $(DJANGO_OPTION)

dev-venv:
	@$(PYTHON) .ci/venv.py $(VENV) --extras dev $(DJANGO_OPTION)
