"""The lab: the reference cluster on one Linux machine, out of network namespaces (see deploy/LAB.md)."""
