"""Several worlds side by side, one of each kind, that are measured in turn and always taken down."""

import time


class Worlds:
    """`worlds`: kind -> something with build() and close()."""

    def __init__(self, worlds):
        self.worlds = worlds

    def __enter__(self):
        try:
            for world in self.worlds.values():
                world.build()
            time.sleep(0.5)  # until iperf3 listens
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for world in self.worlds.values():
            world.close()
