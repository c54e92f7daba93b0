"""The notebooks here are run and compared by these rules; see tests/notebook_rules."""

from tests.notebook_rules.plugin import pytest_collect_file as pytest_collect_file
