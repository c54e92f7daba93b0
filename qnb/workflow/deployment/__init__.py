"""Runs as files, run on real runtimes and measured."""
