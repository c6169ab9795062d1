"""Jupyter in warm Python environments: a kernel provisioner, and an extension of Jupyter Server for the status bar."""

from typing import Any

from .provisioner import RuntimedProvisioner

__all__ = ["RuntimedProvisioner"]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "runtimed_jupyter.server"}]
