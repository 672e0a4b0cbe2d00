"""One thread for JAX, whose pools spin and stand still beside a busy neighbour; and what it compiles is kept, so that
processes of one test run share it. Set before anything imports JAX.
"""

import os
from pathlib import Path

CACHE = Path(__file__).parents[4] / ".cache" / "jax"
os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "NPROC": "1", "JAX_PLATFORMS": "cpu"}
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
