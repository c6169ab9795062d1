"""What a front-end says to a kernel beyond cells, and what it hears: each message of the protocol once."""

import json

import zmq

from .kernel import Kernel
from .table import OWN, UNUSUAL, cell, row

ask_name = "name = input('who? ')\nprint('hello', name)"

cell("input", ask_name, answers=["world"])
cell("getpass", "import getpass\nprint('got', getpass.getpass('secret? '))", answers=["xyz"])
cell("input twice", "print(input('a'), input('b'))", answers=["1", "2"])
cell("input where nobody can answer", "input()")
cell("pdb", "import pdb\ndef p():\n  x = 3\n  pdb.set_trace()\n  return x\np()", answers=["p x + 1", "c"])
cell("%debug with answers", ["def z(n): return 1 / n\nz(0)", "%debug"], answers=["p n", "q"])
cell("values of expressions", "v = 3", user_expressions={"good": "v + 1", "bad": "1 / 0", "rich": "[v] * 3"})
cell("a silent cell", ["7", "8; print('said')"], silent=True)
cell("a cell that is not kept", ["9", "10"], store_history=False)


@row("what the kernel is")
def kernel_info(k):
    told = [k.request("kernel_info_request", {}, channel) for channel in ("shell", "control")]
    for one in told:
        one["banner"] = one["banner"].partition("\nTip:")[0]  # IPython gives one of many, by chance
    return told


@row("where the kernel is connected")
def connect(k):
    return sorted(k.request("connect_request", {}))


@row("completion")
def completion(k):
    k.run("import os\nclass Fruit:\n  def peel(self): return 'x'\n  apple = 1\nfruit = Fruit()\nd = {'first': 1}")
    k.front.write("work/a_file.txt", "")
    texts = [
        "fruit.",
        "fruit.peel().upp",
        "os.path.joi",
        "impor",
        "%tim",
        "d['f",
        "open('a_fi",
        "from os impor",
        "nosuch.",
    ]
    # One kernel reads what another one is writing in jedi's cache, and then completes nothing.
    k.run(
        "import jedi.settings as s; c = get_ipython().Completer\n"
        "old = c.jedi_compute_type_timeout, s.cache_directory\n"
        "c.jedi_compute_type_timeout, s.cache_directory = 60_000, os.path.abspath('../jedi')",
        silent=True,
    )
    asked = [(text, len(text)) for text in texts] + [("os.path.x", 3)]
    replies = [k.request("complete_request", {"code": text, "cursor_pos": at}) for text, at in asked]
    k.run("c.jedi_compute_type_timeout, s.cache_directory = old", silent=True)
    return replies


@row("inspection")
def inspection(k):
    k.run("def seen(a, b=2):\n  'what it does'\n  return a")
    asked = [("seen", 0), ("seen", 1), ("os.path.join(", 0), ("nosuch", 0), ("%timeit", 0)]
    return [
        k.request("inspect_request", {"code": c, "cursor_pos": len(c.rstrip("(")), "detail_level": d}) for c, d in asked
    ]


@row("whether code is complete")
def is_complete(k):
    texts = [
        "1",
        "for x in y:",
        "for x in y:\n  1\n",
        "(",
        "1 +* 2",
        "%%bash\necho",
        "'''",
        "def f():\n    if 1:",
        "a\\",
    ]
    return [k.request("is_complete_request", {"code": text}) for text in texts]


@row("the history of the session")
def history(k):
    k.run("0"), k.run("'for the history'")
    base = {"raw": True, "output": False, "hist_access_type": "tail", "n": 2}
    asked = [
        base,
        {**base, "output": True},
        {**base, "hist_access_type": "search", "pattern": "*for the hist*", "n": 1},
    ]
    asked.append({**base, "hist_access_type": "range", "session": 0, "start": 1, "stop": 3})
    replies = [k.request("history_request", a) for a in asked]
    return [{**r, "history": [[line[0], line[2]] for line in r["history"]]} for r in replies]


@row("counts of cells")
def counts(k):
    said = [
        k.run("1"),
        k.run("2", store_history=False),
        k.run("3", silent=True),
        k.run("4"),
        k.run("1 / 0"),
        k.run("5"),
    ]
    return [s["reply"]["execution_count"] for s in said]


@row("an error ends the cells that wait")
def abort(k):
    late = "import time; runs(); time.sleep(1); 1 / 0"  # the others have come by then
    stopped = [k.begin(late), k.ask("print('aborted')"), k.ask("print('too')")]
    said = [k.outcome(a)["reply"]["status"] for a in stopped]
    going = [k.ask("1 / 0", stop_on_error=False), k.ask("print('not aborted')")]
    return [said, [k.outcome(a)["reply"]["status"] for a in going], k.run("1")["reply"]["status"]]


@row("messages that nobody knows")
def unknown(k):
    k.send("no_such_request", {"a": 1})
    k.send("no_such_request", {"a": 1}, "control")
    return k.run("'it lives'")


@row("a forged message is not answered")
def forged(k):
    other = k.client.session.clone()
    other.key = b"another"
    other.send(k.client.shell_channel.socket, "execute_request", {"code": "forged = 1", "silent": False})
    return k.run("'forged' in globals()")


@row("a second front-end")
def second(k):
    other = Kernel(k.front, k.files, k.process, k.out, k.err)
    try:
        other.ready()
        asked = k.ask("shared = 5; print('heard by all')")
        other.asked[asked.msg_id] = asked_too = type(asked)(asked.msg_id)
        first = k.outcome(asked)
        other.pump("what the other one ran", lambda: asked_too.idle)
        return [first, asked_too.said("stdout"), other.run("shared")]
    finally:
        other.close()


@row("the heartbeat goes on while a cell keeps the processor")
def heartbeat(k):
    with open(k.files.path) as f:
        info = json.load(f)
    context = zmq.Context()
    socket = context.socket(zmq.REQ)
    socket.connect(f"tcp://{info['ip']}:{info['hb_port']}")
    try:
        asked = k.begin("import re; runs(); re.match(r'(a+)+$', 'a' * 34 + 'b')")
        socket.send(b"ping")
        beats = socket.poll(k.left() * 1000) and socket.recv()
        busy = asked.reply is None
        k.process.interrupt()
        return [str(beats), busy, k.outcome(asked)["reply"]["ename"]]
    finally:
        context.destroy(linger=0)


@row("the control channel answers while a cell runs")
def control_while_busy(k):
    asked = k.ask("import threading, sys\nheld = threading.Event()\nprint('waits', flush=True)\nheld.wait(20)")
    k.until_says(asked, "waits")
    info = k.request("kernel_info_request", {}, "control")["status"]
    usage = k.request("usage_request", {}, "control")
    usage.pop("host_cpu_percent", None)  # ipykernel leaves it out where it is 0
    busy = asked.reply is None
    k.send("interrupt_request", {}, "control")
    return [
        info,
        sorted(usage),
        {n: type(v).__name__ for n, v in usage.items()},
        busy,
        k.outcome(asked)["reply"]["ename"],
    ]


@row("what the kernel uses")
def usage(k):
    told = k.request("usage_request", {}, "control")
    same = {n: told[n] for n in ("hostname", "cpu_count") if n in told}
    return [same, told["pid"] == k.facts["pid"], told["kernel_memory"] > 2**20]


@row("subshells")
def subshells(k):
    made = k.control("create_subshell_request", {})
    if made["status"] != "ok":
        return made
    shell = made["subshell_id"]
    listed = k.control("list_subshell_request", {})
    asked = k.ask("import threading\nsub = threading.Event()\nprint('waits', flush=True)\nsub.wait(20)")
    k.until_says(asked, "waits")
    content = {"code": "print(threading.current_thread().name); sub.set()", "silent": False, "user_expressions": {}}
    other = k.send("execute_request", content, subshell_id=shell)
    k.pump("the subshell's cell", lambda: other.done() and other.said("stdout"))
    name = other.said("stdout").replace(shell, "<subshell>")
    waited = k.outcome(asked)
    deleted = k.control("delete_subshell_request", {"subshell_id": shell})
    wrong = k.control("delete_subshell_request", {"subshell_id": "nosuch"})["status"]
    after = k.control("list_subshell_request", {})
    return [sorted(made), len(listed["subshell_id"]), name, waited, deleted, wrong, len(after["subshell_id"])]


# ---- comms


def comm_messages(asked):
    return [[m["msg_type"], m["content"], m["metadata"]] for m in asked.heard if m["msg_type"].startswith("comm")]


@row("a comm that the kernel opens")
def kernel_comm(k):
    opened = k.run("from comm import create_comm\nc = create_comm('target', data={'a': 1}); c.send({'b': 2})")
    there = k.request("comm_info_request", {"target_name": "target"})
    return [opened, sorted(c["target_name"] for c in there["comms"].values()), k.run("c.close()")]


@row("a comm that the front-end opens")
def front_end_comm(k):
    k.run(
        "def opened(comm, message):\n"
        "  comm.on_msg(lambda m: comm.send({'echo': m['content']['data']}))\n"
        "  comm.on_close(lambda m: print('closed'))\n"
        "  comm.send({'hello': message['content']['data']})\n"
        "get_ipython().kernel.comm_manager.register_target('echo', opened)"
    )
    said = []
    for kind, content in (
        ("comm_open", {"comm_id": "ours", "target_name": "echo", "data": {"x": 1}}),
        ("comm_msg", {"comm_id": "ours", "data": {"y": 2}}),
        ("comm_close", {"comm_id": "ours", "data": {}}),
        ("comm_open", {"comm_id": "lost", "target_name": "nobody", "data": {}}),
    ):
        asked = k.send(kind, content)
        k.pump("what the comm says", lambda asked=asked: asked.idle)
        said.append([comm_messages(asked), asked.said("stdout")])
    return said


@row("widgets")
def widgets(k):
    k.run("c = 0; del c")
    shown = k.run(
        "import ipywidgets as w\ns = w.IntSlider(3, description='x')\ns.observe(lambda c: print(c.new), 'value')\ns"
    )
    ident = json.loads(k.value("__import__('json').dumps(s.model_id)").strip("'"))
    asked = k.send(
        "comm_msg", {"comm_id": ident, "data": {"method": "update", "state": {"value": 7}, "buffer_paths": []}}
    )
    k.pump("the widget's update", lambda: asked.idle)
    output = "o = w.Output()\nwith o: print('inside')\no.outputs, w.interact(lambda n: n, n=(1, 5))"
    return [
        shown,
        comm_messages(asked),
        asked.said("stdout"),
        k.run("s.value"),
        k.run(output),
        k.run("w.Widget.close_all()"),
    ]


# ---- the debugger


@row("the debugger", scene=OWN)
def debugger(front):
    k, number = front.start(), 0

    def debug(command, **arguments):
        nonlocal number
        number += 1
        content = {"type": "request", "seq": number, "command": command, "arguments": arguments}
        asked = k.send("debug_request", content, "control")
        k.pump(f"the answer to {command}", asked.done)
        reply = asked.reply["content"]
        return {n: reply.get(n) for n in ("success", "command", "message", "body", "type")}

    def events():
        """The debugger's events come under whatever made them."""
        heard = [m for a in k.asked.values() for m in a.heard] + k.parentless
        return [m["content"] for m in heard if m["msg_type"] == "debug_event"]

    def stopped():
        return [e for e in events() if e["event"] == "stopped"]

    code = "def twice(n):\n    m = n * 2\n    return m\nprint(twice(21))"
    said = [debug("debugInfo"), debug("initialize", clientID="t", clientName="t", adapterID="", pathFormat="path")]
    said[-1]["body"] = sorted(said[-1]["body"])
    said.append(debug("inspectVariables")["success"])
    said.append(debug("attach"))
    source = debug("dumpCell", code=code)["body"]["sourcePath"]
    place = {"path": source}
    said.append(debug("setBreakpoints", breakpoints=[{"line": 2}], source=place, sourceModified=False))
    said.append(debug("configurationDone"))
    asked = k.ask(code)
    k.pump("the stop at the breakpoint", stopped)
    said.append(stopped()[0]["body"]["reason"])
    thread = stopped()[0]["body"]["threadId"]
    frames = debug("stackTrace", threadId=thread)["body"]["stackFrames"]
    said.append([[f["name"], f["line"]] for f in frames][:2])
    scopes = debug("scopes", frameId=frames[0]["id"])["body"]["scopes"]
    held = debug("variables", variablesReference=scopes[0]["variablesReference"])["body"]["variables"]
    said.append([[v["name"], v["value"], v["type"]] for v in held])
    said.append(debug("evaluate", expression="n + 1", frameId=frames[0]["id"])["body"]["result"])
    said.append(debug("richInspectVariables", variableName="n", frameId=frames[0]["id"])["body"])
    said.append(debug("next", threadId=thread)["success"])
    k.pump("the stop after a step", lambda: len(stopped()) == 2)
    said.append(debug("continue", threadId=thread)["success"])
    said.append(k.outcome(asked))
    said.append(debug("disconnect", restart=False, terminateDebuggee=False)["success"])
    return [said, k.run("twice(1)"), k.shutdown()]


cell("input, in an unusual start", ask_name, scenes=(UNUSUAL,), answers=["world"])
