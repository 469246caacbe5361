"""Network namespaces made by hand, for tests in which links come and go: a process holds each of them open."""
import subprocess


class Holders:
    def __init__(self, *names):
        self.processes = {name: subprocess.Popen(["unshare", "-nm", "sh", "-c", "ip link set lo up; echo up; exec sleep infinity"],
                                                 stdout=subprocess.PIPE, text=True) for name in names}
        for process in self.processes.values():
            assert process.stdout.readline() == "up\n"

    def pid(self, who):
        return self.processes[who].pid

    def enter(self, who):
        return ["nsenter", "-n", "-m", "-t", str(self.pid(who))]

    def sh(self, who, script, check=True, timeout=30):
        result = subprocess.run([*self.enter(who), "bash", "-c", script], text=True, capture_output=True, timeout=timeout)
        assert not check or result.returncode == 0, script + result.stdout + result.stderr
        return result

    def close(self, gateway=None):
        """The gateway's process first, where there is one."""
        if gateway is not None and gateway.poll() is None:
            gateway.kill()
            gateway.wait()
        for process in self.processes.values():
            process.kill()
            process.communicate()
