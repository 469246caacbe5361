"""Small servers that stand for the outside world. Each is a program: python3 -m labkit.services.NAME."""
