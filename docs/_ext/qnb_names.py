"""Names of the API become links: single backticks in docstrings; on pages ``qnb.x``, ``flow.x`` and ``sim.x``.

On pages, `flow` is a `qnb.Workflow` and `sim` a `qnb.QuantSim`. What has no entry in the reference stays code:
docstrings may name arguments and private parts. tests/docs checks that what pages name exists.
"""

import re
from importlib import import_module

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.nodes import make_refnode

OBJECTS = {"qnb": "qnb", "flow": "qnb.Workflow", "sim": "qnb.QuantSim"}
NAME = re.compile(r"(qnb|flow|sim)((?:\.[A-Za-z]\w*)+)(?:\(.*\))?", re.DOTALL)


def role(name, rawtext, text, lineno, inliner, options=None, content=None):
    """Single backticks in a docstring."""
    env = inliner.document.settings.env
    literal = nodes.literal(rawtext, text, classes=["xref", "py", "py-obj"])
    node = pending_xref(
        rawtext,
        literal,
        refdoc=env.docname,
        refdomain="py",
        reftype="obj",
        reftarget=text.removesuffix("()"),
        refexplicit=False,
        refspecific=True,
        soft=True,
    )
    for key in ("py:module", "py:class"):
        node[key] = env.ref_context.get(key)
    return [node], []


def same(target: str, known: str) -> bool:
    """Whether two dotted names mean one thing; `known` is where the reference has it."""
    try:
        return resolve(target) is resolve(known)
    except (ImportError, AttributeError):
        return False


def resolve(dotted: str):
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ImportError(dotted)


def missing(app, env, node, contnode):
    """A name without an entry of its own: the entry of the same thing, else plain code."""
    if node.get("refdomain") != "py":
        return None
    target, last = node["reftarget"], node["reftarget"].rpartition(".")[2]
    for known, entry in env.domains["py"].data["objects"].items():
        if target.startswith("qnb.") and known.endswith(f".{last}") and same(target, known):
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, [contnode], known)
    return contnode if node.get("soft") or env.docname.startswith("api/") or node["refdoc"].startswith("api/") else None


class Links(SphinxPostTransform):
    """Code on pages that is a name of the API."""

    default_priority = 20

    def run(self, **kwargs) -> None:
        objects = self.env.domains["py"].data["objects"]
        for literal in list(self.document.findall(nodes.literal)):
            found = NAME.fullmatch(literal.astext())
            above = literal.parent
            if not found or "xref" in literal["classes"] or isinstance(above, nodes.reference | nodes.title):
                continue
            full = OBJECTS[found[1]] + found[2]
            if full in objects and full != "qnb":
                entry = objects[full]
                link = make_refnode(
                    self.app.builder, self.env.docname, entry.docname, entry.node_id, literal.deepcopy(), full
                )
                literal.replace_self(link)


def setup(app):
    from docutils.parsers.rst import roles

    roles.register_local_role("name", role)
    app.connect("missing-reference", missing)
    app.add_post_transform(Links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
