"""What every test gets: a home folder of its own, and guards against what it must not leave behind.

The fixtures live in tests/harness/ (each file opens with what it offers).
"""

pytest_plugins = [
    "harness.profiles",
    "harness.isolation",
    "harness.logs",
    "harness.needs",
    "harness.report",
    "harness.server",
    "harness.browser",
    "harness.document_client",
    "harness.bad_link",
    "harness.bad_line",
    "harness.faults",
    "harness.installed",
    "harness.proxies",
    "harness.docker",
    "harness.machine",
]
