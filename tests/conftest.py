"""Shapes in the signatures of core and objectives are checked while the tests run, and only then."""

import signal

from jaxtyping import install_import_hook

# Not `settings`: it checks its own values, and says what is wrong in words a user can act on.
CHECKED = [
    *(f"nlft.core.{module}" for module in ("saliency", "cluster", "scales", "allocation", "loss")),
    *(f"nlft.objectives.{module}" for module in ("interface", "nlft", "likelihood", "cut", "sdft")),
    "nlft.train.reft.ppo",
]
install_import_hook(CHECKED, "beartype.beartype")

# Started in the background by a shell script, the tests, and every command they start, would ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
