"""The name that the extension of Jupyter Server had before it became the package runtimed-jupyter."""

from runtimed_jupyter import _jupyter_server_extension_points as _jupyter_server_extension_points
from runtimed_jupyter.server import _load_jupyter_server_extension as _load_jupyter_server_extension
