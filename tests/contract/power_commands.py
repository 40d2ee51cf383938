"""A process that stands for a computer, and the command that switches it: programs for tests to write."""

SWITCH = """
import os, signal, subprocess, sys, time
folder, what = sys.argv[1:]
pid = os.path.join(folder, "pid")
alive = os.path.exists(pid)
if what == "on" and not alive:
    ready, mine = os.pipe()
    child = subprocess.Popen(
        [sys.executable, os.path.join(folder, "machine.py"), folder, str(mine)], pass_fds=[mine],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)
    os.close(mine)
    os.read(ready, 1)
    open(pid, "w").write(str(child.pid))
elif what == "off" and alive:
    os.kill(int(open(pid).read()), signal.SIGKILL)
    os.unlink(pid)
elif what == "interrupt":
    if not alive:
        sys.exit("it is off")
    os.kill(int(open(pid).read()), signal.SIGUSR1)
elif what == "state":
    print("on" if alive else "off")
"""
COMPUTER = """
import os, signal, sys
folder, ready = sys.argv[1], int(sys.argv[2])
def note(name):
    with open(os.path.join(folder, name), "a") as file:
        file.write("x")
signal.signal(signal.SIGUSR1, lambda *_: note("nmis"))
note("boots")
os.write(ready, b"x")
os.close(ready)
while True:
    signal.pause()
"""
