"""JupyterHub with warm kernels: each user has a daemon of their own, which is there only while it is needed."""

import sys

c = get_config()  # noqa: F821
bin = f"{sys.prefix}/bin"  # JupyterHub, JupyterLab, runtimed and uv are installed into one environment

# Who may log in: whoever has an account on this machine. Servers are processes of that user.
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allow_all = True
c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"
c.Spawner.default_url = "/lab"

# The daemon starts beside the server, so that the first environment is made while the page loads.
# It would start with the first kernel, too.
start = '(runt daemon start --auto &); exec jupyterhub-singleuser "$@"'
c.Spawner.cmd = ["/bin/sh", "-c", start, "jupyterhub-singleuser"]

# A kernel ends with its server, also where that was killed: after that, nobody else would end it. Its environment waits
# 20 seconds for a kernel that is started again.
c.Spawner.args = ["--RuntimedProvisioner.outlive=False", "--RuntimedProvisioner.linger=20"]

c.Spawner.environment = {
    "PATH": f"{bin}:/usr/local/bin:/usr/bin:/bin",  # one runt and one uv for all
    "JUPYTER_DEFAULT_PROVISIONER_NAME": "runtimed",  # "Python 3 (ipykernel)" is warm, too
}

# How the hub reaches packages, so do its users' daemons: they have the variables of the server that started them.
# Users can read these. A password belongs into a mirror or proxy that asks for none.
proxies = [f"{kind}_proxy" for kind in ("http", "https", "all", "no")]
c.Spawner.env_keep.extend([*proxies, *map(str.upper, proxies)])
c.Spawner.env_keep.extend(["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"])
c.Spawner.env_keep.extend(["UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "PIP_INDEX_URL", "TZ"])

# A server that nobody has used for an hour is stopped, with its kernels. Their environments go back at once, and the
# daemon ends a minute later (idle_exit in config.toml).
c.JupyterHub.services = [
    {"name": "culler", "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=3600"]}
]
scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
c.JupyterHub.load_roles = [{"name": "culler", "services": ["culler"], "scopes": scopes}]

# Restarting the hub, or killing it, ends nobody's server. See KillMode in the README.
c.JupyterHub.cleanup_servers = False
