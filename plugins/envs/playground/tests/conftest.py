"""One thread for JAX: its pools spin, and stand still beside a busy neighbour. Set before anything imports it."""

import os

os.environ |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "NPROC": "1", "JAX_PLATFORMS": "cpu"}
