"""Importing this makes the helpers of tests/integration importable: the fault proxy, a private Redis, a daemon."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
