import pytest


@pytest.fixture(autouse=True)
def registries():
    """Pages add to qnb's registries; what they added is gone after the test."""
    from qnb.graph.ops import OPS
    from qnb.methods import METHODS
    from qnb.panels.layer_tabs import TABS
    from qnb.ranges import RULES
    from qnb.runtimes import RUNTIMES
    from qnb.targets import TARGETS

    tables = (RULES.rows, TARGETS.rows, METHODS.rows, RUNTIMES.rows, TABS.rows, OPS)
    before = [dict(table) for table in tables]
    yield
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)
