"""Plays cases against one proxy; starts a profile of it when the first case asks for it."""
import sys
import os

from .play import Player
from .proxies import Unavailable
from .wire import Failed
from .world import World

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../bench"))
from runner.processes import Workspace  # noqa: E402


NOT_YET = "not available in this version"  # the program itself declares what its version has not


class Suite:
    def __init__(self, proxy):
        self.proxy = proxy
        self.doors = {}
        self.profiles = {}

    def __enter__(self):
        self.workspace = Workspace().__enter__()
        try:
            self.world = World(self.workspace)
            self._profile("plain")
            if hasattr(self.proxy, "declare") and not self.profiles["plain"]:
                self.proxy.declare(self.doors)
        except BaseException:
            self.workspace.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.world.close()
        self.workspace.__exit__()

    def _profile(self, profile):
        """Starts it once; a profile that does not start fails each of its cases, with the same words."""
        if profile not in self.profiles:
            try:
                self.doors.update(self.proxy.start(self.workspace, self.world, profile))
                self.profiles[profile] = None
            except Unavailable as error:
                self.profiles[profile] = str(error)
        return self.profiles[profile]

    def judge(self, case):
        """("passed" | "failed" | "n/a", text). n/a comes from the proxy's declared capabilities alone."""
        missing = [need for need in case.needs if need not in self.proxy.capabilities]
        if missing:
            return "n/a", "not a feature: " + ", ".join(missing)
        problem = self._profile(case.listener.split(".")[0])
        if problem and NOT_YET in problem:
            return "n/a", problem.splitlines()[-1]
        if problem and self.proxy.name in ("squid", "tinyproxy"):
            raise Unavailable(problem)  # our configuration of it is wrong: that is no verdict
        if problem:
            return "failed", problem
        if case.listener not in self.doors:
            if self.proxy.name == "given":
                return "n/a", f"no address was given for {case.listener}"
            return "failed", f"there is no listener {case.listener}"
        try:
            Player(case, self.world, self.doors, "strict" in self.proxy.capabilities).play()
        except (Failed, OSError) as error:
            return "failed", str(error)
        return "passed", ""
