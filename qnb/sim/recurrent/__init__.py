"""Recurrent layers step by step, for targets that run them so."""
