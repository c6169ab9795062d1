"""Which tests of the peers run with both kinds of kernels, and by which kernelspecs."""

import os

# In the files that are not here no test starts a kernel by a kernelspec.
FILES = {
    "ipykernel": ["async", "debugger", "eventloop", "kernel", "message_spec", "subshells"],
    "jupyter_client": [
        "client",
        "consoleapp",
        "kernelapp",
        "kernelmanager",
        "multikernelmanager",
        "provisioning",
        "restarter",
        "runapp",
    ],
    "nbclient": ["cli", "client"],
}
ALL = {suite: ["tests/test_%s.py" % name for name in names] for suite, names in FILES.items()}
EXCLUDED = {
    "ipykernel: tests/test_embed_kernel.py": "its kernels are embedded in programs of the tests' own Python",
    "ipykernel: tests/test_matplotlib_eventloops.py": "needs a display",
    "jupyter_client: tests/test_provisioning.py, new_provisioner": "a test wants that there is no such kernelspec",
    "the other files": "start no kernel by a kernelspec",
}
SHORT = {
    "ipykernel": [
        "tests/test_message_spec.py",  # with one kernel, as what follows without a comment
        "tests/test_kernel.py::test_raw_input",
        "tests/test_kernel.py::test_sys_path_profile_dir",  # arguments
        "tests/test_kernel.py::test_subprocess_print",  # forks
        "tests/test_kernel.py::test_interrupt_during_input",  # SIGINT
        "tests/test_kernel.py::test_shutdown",  # an end that the kernel was asked for
        "tests/test_debugger.py::test_stop_on_breakpoint",
    ],
    "jupyter_client": [
        "tests/test_kernelapp.py",  # by another program, which gets SIGTERM
        "tests/test_kernelmanager.py::TestKernelManager::test_lifecycle",  # tcp and ipc, restart, interrupt, kill
        "tests/test_kernelmanager.py::TestKernelManager::test_signal_kernel_subprocesses",  # the process group
        "tests/test_kernelmanager.py::TestKernelManager::test_templated_kspec_env",  # the environment
        # a kernel that does not answer shutdown_request gets SIGTERM
        "tests/test_kernelmanager.py::TestKernelManagerShutDownGracefully::test_signal_kernel_subprocesses"
        "[signaltest-no-shutdown-install_kernel_dont_shutdown-_ShutdownStatus.SigtermRequest]",
    ],
    "nbclient": [
        "tests/test_cli.py::test_cli_simple",
        "tests/test_client.py::test_run_all_notebooks[JupyterWidgets.ipynb-opts7]",
        "tests/test_client.py::TestExecute::test_kernel_death_during_execution",
        "tests/test_client.py::TestExecute::test_timeout",
    ],
}
OPTIONS = {
    "ipykernel": ["-o", "asyncio_default_fixture_loop_scope=function"],
    "jupyter_client": ["-p", "no:asyncio"],  # it has a way of its own
    "nbclient": ["-o", "asyncio_default_fixture_loop_scope=function"],
}

IPYKERNEL = {
    "display_name": "Python 3 (ipykernel)",
    "language": "python",
    "metadata": {"debugger": True, "supported_encryption": ["curve"]},
    "kernel_protocol_version": "5.5",
}
# The kernels of jupyter_client's own tests are programs there; here ipykernel is told their classes.
SIGNAL, PROBLEM = "signalkernel.SignalTestKernel", "problem.ProblemKernel"
VARIABLES = {
    "problemtest": {},
    "problemtest-fail": {"FAIL_ON_START": "1"},
    "problemtest-slow": {"STARTUP_DELAY": "5", "FAIL_ON_START": "1"},
    "signaltest": {},
    "signaltest-no-shutdown": {"NO_SHUTDOWN_REPLY": "1"},
    "signaltest-no-terminate": {"NO_SHUTDOWN_REPLY": "1", "NO_SIGTERM_REPLY": "1"},
}
PROVISIONERS = {
    "no_provisioner": None,
    "missing_provisioner": "missing-provisioner",
    "default_provisioner": "local-provisioner",
    "custom_provisioner": "custom-test-provisioner",
    "subclassed_provisioner": "subclassed-test-provisioner",
}


def specs(argv):
    """The kernelspecs by name. Jupyter finds them before those of the same names that the tests install."""
    # pytest-jupyter names its own Python's packages in PYTHONPATH, and has a HOME for each test: both count from the
    # start of a kernel, which would be plain.
    home = "HOME=" + os.environ["HOME"]
    argv = ["env", "-u", "PYTHONPATH", "-u", "JUPYTER_PLATFORM_DIRS", home, *argv]

    def spec(kernel, name, **more):
        return {"argv": [*argv, "--IPKernelApp.kernel_class=peer_kernels." + kernel], "display_name": name, **more}

    made = {"python3": {"argv": argv, **IPYKERNEL}, "echo": spec("echo_kernel.EchoKernel", "echo", language="echo")}
    for name, variables in VARIABLES.items():
        env = {"TEST_VARS": "${TEST_VARS}:test_var_2", **variables}
        made[name] = spec(PROBLEM if name.startswith("problem") else SIGNAL, name, env=env)
    for name, provisioner in PROVISIONERS.items():
        config = {} if name == "default_provisioner" else {"config": {"config_var_1": 42, "config_var_2": name}}
        metadata = {"kernel_provisioner": {"provisioner_name": provisioner, **config}} if provisioner else {}
        made[name] = spec(SIGNAL, name, env={"TEST_VARS": "${TEST_VARS}:test_var_2"}, metadata=metadata)
    return made
