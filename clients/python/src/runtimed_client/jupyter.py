"""The name that the kernel provisioner had before it became the package runtimed-jupyter."""

from runtimed_jupyter import RuntimedProvisioner as RuntimedProvisioner
