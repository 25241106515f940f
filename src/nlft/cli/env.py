"""`nlft env`: what a bug report needs."""

from __future__ import annotations

from nlft.cli.options import make_app
from nlft.cli.output import conclude
from nlft.progress import Outcome

app = make_app()


@app.command()
def env() -> None:
    """Print the versions of nlft, Python and the packages that matter, the system and the devices."""
    import platform

    from nlft.provenance import provenance

    told = provenance()
    rows = {"system": platform.platform(), "commit": told.commit or "not a checkout", **told.versions}
    try:
        import torch

        gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        rows |= {"cuda": torch.version.cuda or "not in this build of torch", "gpus": ", ".join(gpus) or "none"}
    except ImportError as error:
        rows["torch"] = f"cannot be imported: {error}"
    rows |= {"cpu": told.device, "threads": str(told.threads)}
    conclude(Outcome("\n".join(f"{name:<14}{value}" for name, value in rows.items()), data=rows))
