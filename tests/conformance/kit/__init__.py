"""Reads cases, plays them against a proxy, and starts the proxies."""
