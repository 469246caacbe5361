"""The benchmark runner: processes, peers, measurements, report. Standard library only."""
